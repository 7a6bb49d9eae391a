// Package address reads and groups the addresses that requests come from. In come the
// peer of a connection and the X-Forwarded-For of a request, out comes one address, in
// one form, and the group of addresses that counts as one sender. It is a leaf: the
// intake and the packages below it call it.
package address

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// Forwarded returns the right-most address that is not trusted; false when there is
// none, or one behind it can't be read. Several lines of a header are one list (RFC
// 9110, section 5.3), whose empty items don't count.
func Forwarded(lines [][]byte, trusted []netip.Prefix) (sender netip.Addr, ok bool) {
	for _, line := range slices.Backward(lines) {
		for len(line) > 0 {
			comma := bytes.LastIndexByte(line, ',')
			item := bytes.TrimSpace(line[comma+1:])
			line = line[:max(comma, 0)]
			if len(item) == 0 {
				continue
			}
			if sender, ok = parse(unsafe.String(unsafe.SliceData(item), len(item))); !ok {
				return netip.Addr{}, false
			}
			if !In(trusted, sender) {
				return sender, true
			}
		}
	}
	return netip.Addr{}, false
}

// parse reads an IP address as proxies write it: alone, in brackets, with
// a port, or both. A zone means nothing to others than its host, so there is none.
func parse(text string) (netip.Addr, bool) {
	port := ""
	bracketed := strings.HasPrefix(text, "[")
	colon := strings.IndexByte(text, ':')
	switch {
	case bracketed:
		var closed bool
		if text, port, closed = strings.Cut(text[1:], "]"); !closed {
			return netip.Addr{}, false
		}
	case colon >= 0 && colon == strings.LastIndexByte(text, ':'):
		text, port = text[:colon], text[colon:]
	}
	if port != "" && !isPort(port) || strings.IndexByte(text, '%') >= 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	return bare(a), err == nil && (!bracketed || a.Is6())
}

// isPort reports whether text is a colon and a port.
func isPort(text string) bool {
	_, err := strconv.ParseUint(text[1:], 10, 16)
	return text[0] == ':' && err == nil
}

// Of returns the address of a peer, the zero one when it has none.
func Of(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return bare(tcp.AddrPort().Addr())
	}
	return netip.Addr{}
}

// bare returns the one form of an address that networks are compared with.
func bare(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Group returns what counts as one address: a sender has a single IPv4 address,
// but a whole /64 of IPv6.
func Group(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// In reports whether a is in one of the networks, which are those of [Networks].
func In(networks []netip.Prefix, a netip.Addr) bool {
	for i := range networks {
		if networks[i].Contains(a) {
			return true
		}
	}
	return false
}

// Networks returns networks in the form in which this package returns addresses; an
// invalid one is an error.
func Networks(networks []netip.Prefix) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(networks))
	for _, p := range networks {
		if !p.IsValid() {
			return nil, fmt.Errorf("has a network that is none: %v", p)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
