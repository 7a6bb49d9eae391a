// Package certificate serves a TLS certificate from files that may be replaced while it
// is served. In come two paths; out comes what [crypto/tls] asks for at each connection.
// The intake and the operators' listener use it.
package certificate

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// CheckEvery is how often the files may be looked at.
const CheckEvery = time.Second

// Files serves a certificate from files and reads them again when they have changed. A
// pair that can't be read leaves the one before in place. It is safe for concurrent use.
type Files struct {
	certFile, keyFile string
	now               func() time.Time
	warn              func(msg string, args ...any)

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

// Open reads the pair. warn logs that a later one can't be read, at a rate of its own.
func Open(certFile, keyFile string, now func() time.Time, warn func(msg string, args ...any)) (*Files, error) {
	c := &Files{certFile: certFile, keyFile: keyFile, now: now, warn: warn, checked: now()}
	var err error
	if c.version, err = c.stat(); err == nil {
		err = c.load()
	}
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return c, nil
}

func (c *Files) stat() (v fileVersion, err error) {
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

func (c *Files) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

// Config returns settings for a server.
func (c *Files) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.get}
}

// get is for [tls.Config.GetCertificate].
func (c *Files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= CheckEvery {
		c.checked = now
		c.refresh()
	}
	return c.current, nil
}

// refresh loads the files when they are not those that were looked at last. It
// is called with mu held.
func (c *Files) refresh() {
	v, err := c.stat()
	if err == nil && v == c.version {
		return
	}
	if err == nil {
		c.version = v
		err = c.load()
	}
	if err != nil {
		c.warn("certificate not reloaded, the one before stays", "file", c.certFile, "error", err)
	}
}
