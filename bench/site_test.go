package bench

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

func TestOnlyThisMachineIsPutUnderLoad(t *testing.T) {
	t.Parallel()
	for url, fine := range map[string]bool{
		"http://127.0.0.1:8080/x": true, "http://[::1]:8080": true, "http://localhost:8080": true, "http://127.9.9.9": true,
		"http://[::ffff:127.0.0.1]:1": true,
		"http://0.0.0.0:8080":         false, "http://[::]:8080": false, "http://192.0.2.1": false, "http://[2001:db8::1]:80": false,
		"http://169.254.169.254": false, "http://[::ffff:192.0.2.1]:1": false,
	} {
		s, err := newSite(t.Context(), siteConfig{url: url})
		if (err == nil) != fine {
			t.Errorf("%s: %v", url, err)
		}
		if !fine && (err == nil || !strings.Contains(err.Error(), "--allow-remote")) {
			t.Errorf("%s: %v does not tell what to do", url, err)
		}
		if fine && !strings.Contains(s.address, ":") {
			t.Errorf("%s leads to %s", url, s.address)
		}
		if _, err := newSite(t.Context(), siteConfig{url: url, remote: true}); err != nil {
			t.Errorf("%s, allowed: %v", url, err)
		}
	}
	for _, url := range []string{"", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://%zz"} {
		if _, err := newSite(t.Context(), siteConfig{url: url}); err == nil {
			t.Errorf("%q is an address", url)
		}
	}
}

func TestTransportLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	in := newIntake(t, "gateway", "a secret")
	s, err := newSite(t.Context(), siteConfig{url: in.URL})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.transport(1).DialContext(context.Background(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.RemoteAddr().String() != in.Listener.Addr().String() {
		t.Errorf("connected with %v", conn.RemoteAddr())
	}
	if s.transport(1).Proxy != nil {
		t.Error("there is a proxy in between")
	}
}

func TestAdminURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:8081": "http://127.0.0.1:8081", ":8081": "http://127.0.0.1:8081", "[::]:8081": "http://127.0.0.1:8081",
		"http://h:1/": "http://h:1", "https://h": "https://h", "h:1": "http://h:1",
	} {
		if got := adminURL(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	var _ http.RoundTripper = (&site{}).transport(1)
}
