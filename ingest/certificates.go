package ingest

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often the files may be looked at.
const certificateCheck = time.Second

// certificates serves a certificate from files and reads them again when they
// have changed. A pair that can't be read leaves the one before in place.
type certificates struct {
	certFile, keyFile string
	now               func() time.Time
	failures          *rateLimitedLog

	mu      sync.Mutex
	current *tls.Certificate
	version fileVersion
	checked time.Time
}

// fileVersion distinguishes one content of the two files from another.
type fileVersion struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

func newCertificates(certFile, keyFile string, now func() time.Time, failures *rateLimitedLog) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, now: now, failures: failures, checked: now()}
	var err error
	if c.version, err = c.stat(); err == nil {
		err = c.load()
	}
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return c, nil
}

func (c *certificates) stat() (v fileVersion, err error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return v, err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return v, err
	}
	return fileVersion{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

// get is for [tls.Config.GetCertificate].
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh loads the files when they are not those that were looked at last. It
// is called with mu held.
func (c *certificates) refresh() {
	v, err := c.stat()
	if err == nil && v == c.version {
		return
	}
	if err == nil {
		c.version = v
		err = c.load()
	}
	if err != nil {
		c.failures.Warn("certificate not reloaded, the one before stays", "file", c.certFile, "error", err)
	}
}
