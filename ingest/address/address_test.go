package address

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestGroup(t *testing.T) {
	t.Parallel()
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4711} }
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "::ffff:192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true}, {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
	} {
		if same := Group(Of(at(tc.a))) == Group(Of(at(tc.b))); same != tc.same {
			t.Errorf("%s and %s count as one: %v", tc.a, tc.b, same)
		}
	}
}

// FuzzForwarded compares with a reading that takes the list apart as a whole.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{
		"198.51.100.7", "198.51.100.7, 10.0.0.1", "a,b", ",", "", "[2001:db8::1]:443\n10.0.0.2", "::ffff:10.1.2.3,1.2.3.4:5",
		"fe80::1%eth0", "1.2.3.4:99999", "[1.2.3.4]", "[::1", "::1]", "1.2.3.4\n\n", " 1.2.3.4 \t,", "1.2.3.4:80:80", "[::]:",
	} {
		f.Add(seed)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	f.Fuzz(func(t *testing.T, text string) {
		var lines [][]byte
		for line := range strings.SplitSeq(text, "\n") {
			lines = append(lines, []byte(line))
		}
		got, ok := Forwarded(lines, trusted)
		want, wantOK := forwardedPlainly(strings.ReplaceAll(text, "\n", ","), trusted)
		if got != want || ok != wantOK {
			t.Fatalf("%q: got %v %v, want %v %v", text, got, ok, want, wantOK)
		}
		if ok && (!got.IsValid() || got.Zone() != "" || got.Is4In6() || In(trusted, got)) {
			t.Fatalf("%q: got %v", text, got)
		}
	})
}

func forwardedPlainly(list string, trusted []netip.Prefix) (netip.Addr, bool) {
	items := strings.Split(list, ",")
	slices.Reverse(items)
	for _, item := range items {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		a, err := netip.ParseAddr(item)
		if err != nil {
			a, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(item, "["), "]"))
			bracketed := strings.HasPrefix(item, "[") && strings.HasSuffix(item, "]") && a.Is6()
			if err != nil || !bracketed {
				var both netip.AddrPort
				both, err = netip.ParseAddrPort(item)
				a = both.Addr()
			}
		}
		if err != nil || a.Zone() != "" {
			return netip.Addr{}, false
		}
		if a = a.Unmap(); !In(trusted, a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}
