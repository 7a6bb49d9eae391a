package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Role is what a caller may do. Each role may do what those before it may.
type Role string

// The roles.
const (
	Read    Role = "read"    // look at everything
	Operate Role = "operate" // replay, close, accept, reload
	Admin   Role = "admin"   // take what is not verified for an event, and profile the process
)

// Roles are all of them, the one that may do least first.
var Roles = []Role{Read, Operate, Admin}

// allows reports whether the role may do what needs another one. No role, "", may do
// nothing.
func (r Role) allows(needed Role) bool {
	return r != "" && slices.Index(Roles, r) >= slices.Index(Roles, needed)
}

// Token is a bearer token and what it allows.
type Token struct {
	Name   string // as the log names who shows it
	Role   Role
	Secret []byte
}

// caller is the sender of a request. The zero value showed no token, or a wrong one.
type caller struct {
	name string
	role Role
}

// callers knows the tokens by their hashes, so that a comparison reveals no length.
type callers []struct {
	caller
	sum [sha256.Size]byte
}

// SetTokens replaces all tokens. Requests that are being answered go on.
func (s *Server) SetTokens(tokens []Token) {
	known := make(callers, len(tokens))
	for i, t := range tokens {
		known[i].caller, known[i].sum = caller{t.Name, t.Role}, sha256.Sum256(t.Secret)
	}
	s.callers.Store(&known)
}

// callerOf returns who shows this Authorization header. It takes the same time wherever
// a token differs.
func (known callers) callerOf(authorization string) (who caller) {
	scheme, token, _ := strings.Cut(authorization, " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if !strings.EqualFold(scheme, "Bearer") {
		return who
	}
	for i := range known {
		if subtle.ConstantTimeCompare(sum[:], known[i].sum[:]) == 1 {
			who = known[i].caller
		}
	}
	return who
}

// onLoopback reports whether a request came to a loopback address.
func onLoopback(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local != nil && Loopback(local.String())
}
