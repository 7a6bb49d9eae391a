package admin

import "net/http"

// What the tests need of the inside.

const MaxTraceIDBytes = maxTraceIDBytes

var OneSegmentKey = oneSegmentKey

// Routes returns the patterns with the role that each needs, "" for none.
func (s *Server) Routes() map[string]Role {
	needed := map[string]Role{}
	for pattern, route := range s.routes {
		needed[pattern] = route.needs()
		if route.open {
			needed[pattern] = ""
		}
	}
	return needed
}

// Pattern returns the pattern that takes r.
func (s *Server) Pattern(r *http.Request) string {
	_, pattern := s.mux.Handler(r)
	return pattern
}
