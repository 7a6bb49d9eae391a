package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
)

// certificate names the files of one for 127.0.0.1 that is its own authority, and of
// its key.
type certificate struct{ cert, key string }

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{c.cert: {Type: "CERTIFICATE", Bytes: cert}, c.key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// startSecuredNATS starts a nats-server that wants a password and a certificate.
func startSecuredNATS(t *testing.T, c certificate) *server {
	t.Helper()
	return startNATS(t, "--user", "u", "--pass", "p",
		"--tls", "--tlsverify", "--tlscert", c.cert, "--tlskey", c.key, "--tlscacert", c.cert)
}

// TestEveryConnectionIsSecured runs an appliance in a process of its own, because
// the authorities that Redis' client trusts belong to the process.
func TestEveryConnectionIsSecured(t *testing.T) {
	c, dir, cfg := newCertificate(t), t.TempDir(), config.Defaults()
	db := startDatabase(t)
	db.secure(t, c)
	db.use(t, &cfg)
	a := spawn(t, dir,
		"SSL_CERT_FILE="+c.cert,
		"APPLIANCE_JETSTREAM__MODE=external", "APPLIANCE_JETSTREAM__URLS=tls://u:p@"+startSecuredNATS(t, c).addr,
		"APPLIANCE_JETSTREAM__TLS_CA_FILE="+c.cert, "APPLIANCE_JETSTREAM__TLS_CERT_FILE="+c.cert, "APPLIANCE_JETSTREAM__TLS_KEY_FILE="+c.key,
		"APPLIANCE_JETSTREAM__STAMP_KEYS="+string(secretFile(t, "a stamp key of enough bytes")),
		"APPLIANCE_PERSISTENCE__REDIS_URL="+string(secretFile(t, "rediss://"+startRedis(t, c).addr)), "APPLIANCE_PERSISTENCE__REDIS_TIMEOUT=1s",
		"APPLIANCE_PERSISTENCE__MONGO_URI="+string(cfg.Persistence.MongoURI), "APPLIANCE_PERSISTENCE__MONGO_DATABASE="+cfg.Persistence.MongoDatabase,
		"APPLIANCE_PERSISTENCE__LEDGER_TTL="+cfg.Persistence.LedgerTTL.String(),
		"APPLIANCE_PERSISTENCE__DEAD_LETTER_TTL="+cfg.Persistence.DeadLetterTTL.String(),
		"APPLIANCE_PERSISTENCE__INGESTION_TTL="+cfg.Persistence.IngestionTTL.String(),
	)
	got, err := post(a.public, demoScheme(t, dir), eventBody("secured", "shp-secured", "in_transit", time.Now()))
	if err != nil || got.Status != http.StatusAccepted {
		t.Fatalf("posting: %+v, %v\n%s", got, err, a.log)
	}
	a.checksAll([]string{"secured"})
	var h app.HealthReport
	eventually(t, "all to be connected", func() bool {
		a.get("/health", &h)
		return h.Status == "healthy" && h.JetStream == "connected" && h.Mongo == "connected" && h.Redis == "connected"
	})
	if !strings.Contains(h.Sync, "set by the server (version 2.") || !strings.Contains(h.Sync, ", 1 of 1 replicas)") {
		t.Errorf("health says of the broker's durability: %q", h.Sync)
	}
}

// TestBrokerThatIsNotTrusted: who lacks its authority, or what it wants to see, gets no
// connection rather than one that is not secured.
func TestBrokerThatIsNotTrusted(t *testing.T) {
	c := newCertificate(t)
	nats := startSecuredNATS(t, c)
	secured := config.JetStreamConfig{URLs: []string{"tls://u:p@" + nats.addr}, TLSCAFile: c.cert, TLSCertFile: c.cert, TLSKeyFile: c.key}
	for name, change := range map[string]func(*config.JetStreamConfig){
		"":                            func(*config.JetStreamConfig) {},
		"signed by unknown authority": func(j *config.JetStreamConfig) { j.TLSCAFile = newCertificate(t).cert },
		// The server's word for it may be lost when it hangs up at once.
		"certificate required|TLS handshake|broken pipe|reset by peer": func(j *config.JetStreamConfig) { j.TLSCertFile = "" },
		"Authorization Violation":                                      func(j *config.JetStreamConfig) { j.URLs = []string{"tls://u:wrong@" + nats.addr} },
		"secure connection not available":                              func(j *config.JetStreamConfig) { j.URLs = []string{"tls://" + startNATS(t).addr} },
	} {
		cfg := quick(t)
		j := secured
		change(&j)
		cfg.JetStream.Mode, cfg.JetStream.StampKeys = config.ModeExternal, []config.Secret{secretFile(t, "a stamp key of enough bytes")}
		cfg.JetStream.URLs, cfg.JetStream.TLSCAFile, cfg.JetStream.TLSCertFile, cfg.JetStream.TLSKeyFile = j.URLs, j.TLSCAFile, j.TLSCertFile, j.TLSKeyFile
		patience := 2 * time.Second
		if name == "" {
			patience = 30 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		app, err := app.Start(ctx, cfg, app.Deps{Log: slog.New(slog.DiscardHandler), Version: "test"})
		cancel()
		if err == nil {
			err = app.Stop(t.Context())
		}
		if name == "" && err != nil || name != "" && (err == nil || !regexp.MustCompile(name).MatchString(err.Error())) {
			t.Errorf("start: %v, want %q", err, name)
		}
	}
}
