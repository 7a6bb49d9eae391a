package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// maxBytes bounds a JWKS.
	maxBytes = 256 << 10
	// loadTimeout bounds how long one load takes, all in all.
	loadTimeout = 10 * time.Second
)

// Loader returns what loads the JWKS at an address: "file:PATH", or a https
// address; http only from this machine itself. It does nothing yet; it fails when
// the address is none of these. It must hold no password, because addresses are
// shown. Redirects are not followed.
func Loader(address string) (func(context.Context) ([]byte, error), error) {
	if path, ok := strings.CutPrefix(address, "file:"); ok && path != "" {
		return func(context.Context) ([]byte, error) { return loadFile(path) }, nil
	}
	u, err := url.Parse(address)
	if err == nil && u.User != nil {
		return nil, errors.New("the address holds a name or a password, which would be shown: public keys need none")
	}
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%q is neither file:PATH nor a https address", address)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, errors.New("keys come by https only, or they could be changed on the way")
	}
	return func(ctx context.Context) ([]byte, error) { return loadAddress(ctx, u) }, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func loadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readBounded(f)
}

func loadAddress(ctx context.Context, u *url.URL) ([]byte, error) {
	client := &http.Client{
		Timeout:   loadTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s: set the address where the keys are", r.URL.Redacted())
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", u.Redacted(), response.Status)
	}
	return readBounded(response.Body)
}

func readBounded(r io.Reader) ([]byte, error) {
	document, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err == nil && len(document) > maxBytes {
		err = fmt.Errorf("it has more than %d bytes", maxBytes)
	}
	return document, err
}
