package admin

import "net/http"

// What the tests need of the inside.

const MaxTraceIDBytes = maxTraceIDBytes

var OneSegmentKey = oneSegmentKey

// Routes returns the patterns, and whether each needs no token.
func (s *Server) Routes() map[string]bool {
	open := map[string]bool{}
	for pattern, route := range s.routes {
		open[pattern] = route.open
	}
	return open
}

// Pattern returns the pattern that takes r.
func (s *Server) Pattern(r *http.Request) string {
	_, pattern := s.mux.Handler(r)
	return pattern
}
