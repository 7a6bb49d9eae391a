package ingest

import (
	"net/netip"

	"github.com/fincart/courier-gateway/ingest/address"
)

// from returns who has sent a request: the peer of its connection or, when that
// is a trusted proxy, the last one in X-Forwarded-For that is none. What a sender
// writes into that header itself stands in front of what the proxies add, so it
// can't pass for another. Without such an address, or when one of those behind it
// can't be read, it is the peer.
func (s *Server) from(c *call) netip.Addr {
	if !c.address.IsValid() {
		c.address = s.findAddress(c)
	}
	return c.address
}

func (s *Server) findAddress(c *call) netip.Addr {
	peer := address.Of(c.ctx.RemoteAddr())
	if !address.In(s.trusted, peer) {
		return peer
	}
	if sender, ok := address.Forwarded(c.ctx.Request.Header.PeekAll("X-Forwarded-For"), s.trusted); ok {
		return sender
	}
	return peer
}
