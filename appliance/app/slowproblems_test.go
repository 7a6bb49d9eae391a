package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate for these times and returns its files.
func writeCertificate(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestCertificateProblems(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, test := range map[string]struct {
		lived, left time.Duration
		want        string
	}{
		"fresh":              {day, 89 * day, ""},
		"before renewal":     {82 * day, 8 * day, ""},
		"not renewed":        {84 * day, 6 * day, "expires at 2026-01-07"},
		"of a few days":      {5 * day, day, ""},
		"of a few, at last":  {6*day - time.Hour, time.Hour, "expires at 2026-01-01T01"},
		"of many years":      {3000 * day, 8 * day, ""},
		"expired":            {90 * day, -time.Second, "expired at 2025-12-31T23:59:59Z"},
		"expired for a year": {90 * day, -365 * day, "expired at 2025"},
	} {
		cert, key := writeCertificate(t, now.Add(-test.lived), now.Add(test.left))
		problems := certificateProblems("ingest.tls_cert_file", cert, key, "by itself", now)
		if (test.want != "") != (len(problems) == 1) {
			t.Errorf("%s: %q", what, problems)
			continue
		}
		if test.want != "" && (!strings.Contains(problems[0], test.want) || !strings.Contains(problems[0], cert)) {
			t.Errorf("%s: %q", what, problems)
		}
	}
	if problems := certificateProblems("ingest.tls_cert_file", "", "", "", now); problems != nil {
		t.Errorf("no certificate: %q", problems)
	}
	gone := filepath.Join(t.TempDir(), "gone.pem")
	if problems := certificateProblems("ingest.tls_cert_file", gone, gone, "", now); len(problems) != 1 || !strings.Contains(problems[0], "no such file") {
		t.Errorf("a certificate that is gone: %q", problems)
	}
}
