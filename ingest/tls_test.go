package ingest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/certificate"
	"github.com/fincart/courier-gateway/ingest/event"
)

// writePair writes a certificate with the given serial number and its key.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})), serial)
	writeFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})), serial)
}

// writeFile writes a file of a given age, so that no two versions look alike.
func writeFile(t *testing.T, name, content string, version int64) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, noon, noon.Add(time.Duration(version)*time.Second)); err != nil {
		t.Fatal(err)
	}
}

// startTLS makes a server that speaks TLS with the certificate of serial 1.
func startTLS(t *testing.T, change func(*Config)) (f *fixture, certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, certFile, keyFile, 1)
	f = start(t, func(c *Config) {
		c.TLSCertFile, c.TLSKeyFile = certFile, keyFile
		if change != nil {
			change(c)
		}
	})
	return f, certFile, keyFile
}

// serial returns the serial number of the certificate that the server shows.
func (f *fixture) serial(t *testing.T) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	f, _, _ := startTLS(t, func(c *Config) { c.MaxBodyBytes = 1000 })
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, tc := range []struct {
		body   string
		status int
	}{{goodBody, 202}, {strings.Repeat("x", 2000), 413}} {
		r := f.request(f.demo, "/v1/events/courier", tc.body)
		r.URL.Scheme = "https"
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if a := read(t, res); a.StatusCode != tc.status || a.ProtoMajor != 1 {
			t.Errorf("got %s %d %s, want %d", a.Proto, a.StatusCode, a.body, tc.status)
		}
	}
	if c, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
	c := f.dial(t) // plain HTTP on a TLS port
	c.send(t, healthRequest)
	if res, err := http.ReadResponse(c.in, nil); err == nil {
		t.Errorf("plain HTTP is answered %d", res.StatusCode)
	}
}

func TestTLSConnectionLimit(t *testing.T) {
	t.Parallel()
	f, _, _ := startTLS(t, func(c *Config) { c.MaxConns = 1 })
	c, err := tls.Dial("tcp", f.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f.dial(t).expectClosed(t)
	if got, _ := f.metric(t, "connections_refused_total code="+string(event.IntakeUnavailable)); got != 1 {
		t.Errorf("%v refused connections counted, want 1", got)
	}
}

func TestTLSReload(t *testing.T) {
	t.Parallel()
	f, certFile, keyFile := startTLS(t, nil)
	expect := func(when string, want int64) {
		t.Helper()
		if got := f.serial(t); got != want {
			t.Errorf("%s the certificate has serial %d, want %d", when, got, want)
		}
	}
	expect("at first", 1)
	writePair(t, certFile, keyFile, 2)
	expect("within a second of the change", 1)
	f.clock.advance(certificate.CheckEvery)
	expect("after the change", 2)

	writeFile(t, keyFile, "broken", 3)
	f.clock.advance(certificate.CheckEvery)
	expect("with a broken key", 2)
	f.clock.advance(certificate.CheckEvery)
	expect("with a broken key that was tried before", 2)
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(certificate.CheckEvery)
	expect("without a file", 2)
	if log := f.log.String(); strings.Count(log, "certificate not reloaded") != 2 {
		t.Errorf("the log says: %s", log)
	}

	writePair(t, certFile, keyFile, 4)
	f.clock.advance(certificate.CheckEvery)
	expect("after the repair", 4)
}

func TestNewRefusesABrokenCertificate(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	c := f.config
	c.TLSCertFile, c.TLSKeyFile = filepath.Join(t.TempDir(), "cert.pem"), "key.pem"
	if _, err := New(c, f.deps); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}
