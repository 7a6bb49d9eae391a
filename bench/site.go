package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// site is an endpoint that may be put under load: an address that was looked up
// once and checked, so that no later look-up can lead anywhere else.
type site struct {
	url     string // whole address, as people write it
	host    string // for the host header
	target  string // path and query
	address string // IP and port
	secure  *tls.Config
}

// siteConfig says where a site is and who may be put under load.
type siteConfig struct {
	url    string
	remote bool   // also one that is not on this machine
	caFile string // PEM file of the authorities to trust, "" for the system's
}

// newSite looks an endpoint up. It refuses one that is not on this machine unless
// remote ones are allowed: load on somebody else's machine is an attack.
func newSite(ctx context.Context, cfg siteConfig) (*site, error) {
	u, err := url.Parse(cfg.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError("%q is no http address: write http://host:port", cfg.url)
	}
	s := &site{url: cfg.url, host: u.Host, target: u.RequestURI()}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := lookUp(ctx, u.Hostname(), cfg.remote)
	if err != nil {
		return nil, err
	}
	s.address = net.JoinHostPort(ip, port)
	if u.Scheme == "https" {
		s.secure = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		if s.secure.RootCAs, err = authorities(cfg.caFile); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// errRemote says why nothing is sent.
var errRemote = errors.New("is not on this machine, so nothing is sent: load belongs on machines that are yours; --allow-remote says that this one is")

// lookUp returns an address of host. Each one that it has must be on this
// machine, unless remote ones are allowed.
func lookUp(ctx context.Context, host string, remote bool) (string, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("look up %s: %w", host, err)
	}
	for _, ip := range found {
		if !remote && !ip.Unmap().IsLoopback() {
			return "", usageError("%s (%s) %w", host, ip.Unmap(), errRemote)
		}
	}
	return found[0].Unmap().String(), nil
}

func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the authorities to trust: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func (s *site) dialer(timeout time.Duration) *dialer {
	return &dialer{address: s.address, tls: s.secure, timeout: timeout}
}

// transport returns net/http's way to the site, and to nowhere else: whatever is
// asked for, the connection goes to the address that was checked.
func (s *site) transport(connections int) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.address)
		},
		TLSClientConfig:     s.secure,
		MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		IdleConnTimeout: maxIdle,
	}
}

// adminURL makes a URL of what an admin listener was given ("127.0.0.1:8081",
// ":8081") or takes the URL that it is.
func adminURL(address string) string {
	if strings.Contains(address, "://") {
		return strings.TrimSuffix(address, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + address
}
