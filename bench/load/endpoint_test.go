package load

import (
	"net/http"
	"net/http/httptest"
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
		s, err := newEndpoint(t.Context(), url, false, "")
		if (err == nil) != fine {
			t.Errorf("%s: %v", url, err)
		}
		if !fine && (err == nil || !strings.Contains(err.Error(), "--allow-remote")) {
			t.Errorf("%s: %v does not say what to do", url, err)
		}
		if fine && !strings.Contains(s.address, ":") {
			t.Errorf("%s leads to %s", url, s.address)
		}
		if _, err := newEndpoint(t.Context(), url, true, ""); err != nil {
			t.Errorf("%s, allowed: %v", url, err)
		}
	}
	for _, url := range []string{"", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://%zz"} {
		if _, err := newEndpoint(t.Context(), url, false, ""); err == nil {
			t.Errorf("%q is an address", url)
		}
	}
}

func TestTransportLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	to := transport(1, false, nil)
	conn, err := to.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, address := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80", "no port"} {
		if conn, err := to.DialContext(t.Context(), "tcp", address); err == nil {
			t.Errorf("connected with %v", conn.RemoteAddr())
		}
	}
	if to.Proxy != nil {
		t.Error("there is a proxy in between")
	}
}
