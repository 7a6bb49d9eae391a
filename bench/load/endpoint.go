package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/fincart/courier-gateway/bench"
)

// endpoint is where the load goes: an address that was looked up once and checked, so
// that no later look-up can lead anywhere else.
type endpoint struct {
	url     string // whole address, as given
	host    string // for the host header
	target  string // path and query
	address string // IP and port
	remote  bool
	tls     *tls.Config // nil for plain HTTP
}

// newEndpoint looks an endpoint up. It refuses one that is not on this machine unless
// remote ones are allowed: load on another's machine is an attack. caFile holds the
// authorities to trust, "" for the system's.
func newEndpoint(ctx context.Context, text string, remote bool, caFile string) (*endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, bench.UsageErrorf("%q is no http address: write http://host:port", text)
	}
	e := &endpoint{url: text, host: u.Host, target: u.RequestURI(), remote: remote}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if e.address, err = lookUp(ctx, net.JoinHostPort(u.Hostname(), port), remote); err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		e.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		if e.tls.RootCAs, err = bench.Authorities(caFile); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// errRemote says why nothing is sent.
var errRemote = errors.New("is not on this machine, so nothing is sent: load belongs on machines that are yours; --allow-remote says that this one is")

// lookUp returns the IP and port of an address. Each IP that its host has must be on
// this machine, unless remote ones are allowed.
func lookUp(ctx context.Context, address string, remote bool) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("look up %s: %w", host, err)
	}
	for _, ip := range found {
		if !remote && !ip.Unmap().IsLoopback() {
			return "", bench.UsageErrorf("%s (%s) %w", host, ip.Unmap(), errRemote)
		}
	}
	return net.JoinHostPort(found[0].Unmap().String(), port), nil
}

// transport returns net/http's connections to this machine, and to no other unless
// remote ones are allowed.
func transport(connections int, remote bool, secure *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			address, err := lookUp(ctx, address, remote)
			if err != nil {
				return nil, err
			}
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
		TLSClientConfig:     secure,
		MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		IdleConnTimeout: maxIdle,
	}
}
