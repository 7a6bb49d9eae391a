package ingest

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fincart/courier-gateway/ingest/event"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestFrom(t *testing.T) {
	t.Parallel()
	f := prepare(t, func(c *Config) {
		c.TrustedProxies = prefixes("10.0.0.0/8", "::ffff:172.16.0.0/108", "2001:db8:1::/48", "fe80::/10")
	})
	for _, tc := range []struct {
		name, peer string
		lines      []string // of X-Forwarded-For
		want       string
	}{
		{"no proxy", "192.0.2.1", nil, "192.0.2.1"},
		{"spoofed by a sender that is no proxy", "192.0.2.1", []string{"198.51.100.7"}, "192.0.2.1"},
		{"behind a proxy", "10.0.0.1", []string{"198.51.100.7"}, "198.51.100.7"},
		{"spoofed in front of what the proxy adds", "10.0.0.1", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"spoofed as one of the proxies", "10.0.0.1", []string{"10.9.9.9, 198.51.100.7"}, "198.51.100.7"},
		{"behind two proxies", "10.0.0.1", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"several lines", "10.0.0.1", []string{"203.0.113.9", "198.51.100.7,172.16.3.4", " 10.0.0.2\t"}, "198.51.100.7"},
		{"spoofed in a line of its own", "10.0.0.1", []string{"198.51.100.7", "203.0.113.9"}, "203.0.113.9"},
		{"all of them proxies", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.1"},
		{"no header", "10.0.0.1", nil, "10.0.0.1"},
		{"empty", "10.0.0.1", []string{"", " , ,"}, "10.0.0.1"},
		{"empty items", "10.0.0.1", []string{"198.51.100.7,, ,"}, "198.51.100.7"},
		{"garbage", "10.0.0.1", []string{"unknown"}, "10.0.0.1"},
		{"garbage behind an address", "10.0.0.1", []string{"198.51.100.7, _hidden"}, "10.0.0.1"},
		{"garbage in front of it", "10.0.0.1", []string{"<script>, 198.51.100.7"}, "198.51.100.7"},
		{"a network", "10.0.0.1", []string{"198.51.100.0/24"}, "10.0.0.1"},
		{"a name", "10.0.0.1", []string{"courier.example"}, "10.0.0.1"},
		{"with a port", "10.0.0.1", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{"with a port that is none", "10.0.0.1", []string{"198.51.100.7:http"}, "10.0.0.1"},
		{"with an empty port", "10.0.0.1", []string{"198.51.100.7:"}, "10.0.0.1"},
		{"IPv6", "2001:db8:1::1", []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		{"IPv6 in brackets", "2001:db8:1::1", []string{"[2001:db8:2::7]"}, "2001:db8:2::7"},
		{"IPv6 with a port", "2001:db8:1::1", []string{"[2001:db8:2::7]:443, [2001:db8:1::2]:80"}, "2001:db8:2::7"},
		{"IPv6 with a zone", "10.0.0.1", []string{"fe80::1%eth0"}, "10.0.0.1"},
		{"IPv4 in brackets", "10.0.0.1", []string{"[198.51.100.7]:1"}, "10.0.0.1"},
		{"a bracket left open", "10.0.0.1", []string{"[2001:db8:2::7"}, "10.0.0.1"},
		{"IPv4 as IPv6", "::ffff:10.0.0.1", []string{"::ffff:198.51.100.7, ::ffff:172.31.0.1"}, "198.51.100.7"},
		{"just outside the proxies", "10.0.0.1", []string{"198.51.100.7, 172.32.0.1"}, "172.32.0.1"},
	} {
		var ctx fasthttp.RequestCtx
		var r fasthttp.Request
		for _, line := range tc.lines {
			r.Header.Add("X-Forwarded-For", line)
		}
		ctx.Init(&r, &net.TCPAddr{IP: net.ParseIP(tc.peer), Port: 4711}, nil)
		if got := (&call{ctx: &ctx, trusted: f.trusted}).from().String(); got != tc.want {
			t.Errorf("%s: it is from %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.TrustedProxies = prefixes("127.0.0.2/32") })
	f.set(t, Courier{Name: "near", Scheme: f.plain, Networks: prefixes("192.0.2.0/24", "::ffff:127.0.0.1/128", "2001:db8::/32")})
	for _, tc := range []struct {
		peer, forwarded string
		want            int
	}{
		{"127.0.0.1", "", 202},
		{"127.0.0.3", "", 403},
		{"127.0.0.3", "192.0.2.7", 403}, // which is not believed
		{"127.0.0.2", "", 403},
		{"127.0.0.2", "192.0.2.7", 202},
		{"127.0.0.2", "198.51.100.1, 192.0.2.7:80", 202},
		{"127.0.0.2", "192.0.2.7, 198.51.100.1", 403},
		{"127.0.0.2", "2001:db8::7", 202},
	} {
		c := f.dialFrom(t, tc.peer)
		var headers []string
		if tc.forwarded != "" {
			headers = append(headers, "X-Forwarded-For: "+tc.forwarded)
		}
		c.send(t, f.raw(f.plain, "/v1/events/courier/near", bodyWithKey(tc.peer+tc.forwarded), headers...))
		a := c.answer(t)
		if a.StatusCode != tc.want {
			t.Errorf("from %s by %s: got %d %s", tc.forwarded, tc.peer, a.StatusCode, a.body)
		}
		if tc.want == 403 {
			expectProblem(t, a, 403, event.Forbidden, "this address")
		}
	}
	// The address is checked before the signature: a stranger learns nothing of that.
	c := f.dialFrom(t, "127.0.0.3")
	c.send(t, f.raw(f.demo, "/v1/events/courier/near", goodBody))
	expectProblem(t, c.answer(t), 403, event.Forbidden, "")
	if !strings.Contains(f.log.String(), `"remote":"198.51.100.1"`) {
		t.Errorf("the log lacks the sender behind the proxy: %s", f.log)
	}
	var addresses []string
	for _, r := range f.recorded(t).singles() {
		addresses = append(addresses, r.Address)
	}
	if want := []string{"127.0.0.3", "127.0.0.3", "127.0.0.2", "198.51.100.1", "127.0.0.3"}; !slices.Equal(addresses, want) {
		t.Errorf("recorded are %q, want %q", addresses, want)
	}
}

func TestNetworksThatAreNone(t *testing.T) {
	t.Parallel()
	f := prepare(t, nil)
	err := f.SetCouriers(Couriers{All: []Courier{{Name: "odd", Scheme: f.demo, Networks: []netip.Prefix{{}}}}})
	if err == nil || !strings.Contains(err.Error(), `"odd"`) {
		t.Errorf("got %v", err)
	}
	c, d := f.config, f.deps
	c.TrustedProxies = []netip.Prefix{{}}
	if _, err := New(c, d); err == nil || !strings.Contains(err.Error(), "TrustedProxies") {
		t.Errorf("got %v", err)
	}
}
