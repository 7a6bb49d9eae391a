package config

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/jetstream/durable"
	"github.com/fincart/courier-gateway/ops/admin"
)

// AccessFile is in the data directory of every appliance that has been started, readable
// by its owner only, so that commands find the operators' listener and may use it.
const AccessFile = "admin.json"

// Access is the content of [AccessFile]. Its token belongs to its address: commands send
// it to no other address, unless the user names one together with the data directory.
type Access struct {
	Address  string `json:"address"`               // HOST:PORT, or an https URL
	Token    string `json:"token,omitempty"`       // that was made, where the configuration has none
	CertFile string `json:"certificate,omitempty"` // that the listener shows
}

// AdminToken is one of the named tokens of the operators' listener.
type AdminToken struct {
	Role  string `koanf:"role"`
	Token Secret `koanf:"token"`
}

// ReadAccess returns what the appliance on a data directory has left for commands; an
// empty Access, when it was never started.
func ReadAccess(dataDir string) (access Access, err error) {
	path := filepath.Join(dataDir, AccessFile)
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Access{}, nil
	case err != nil:
		return Access{}, err
	}
	if err := json.Unmarshal(raw, &access); err != nil {
		return Access{}, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return access, nil
}

// OpenAccess returns the tokens of the operators' listener, which is at address, read
// again from where they are. It leaves [AccessFile] for commands, with a token that it
// makes unless one is there or the configuration has one.
func (c Config) OpenAccess(address net.Addr) ([]admin.Token, error) {
	var f faults
	tokens := c.Admin.tokens(&f)
	if err := f.err(); err != nil {
		return nil, err
	}
	err := durable.Owned(filepath.Join(c.DataDir, AccessFile))
	var before Access
	if err == nil {
		before, err = ReadAccess(c.DataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the admin token: %w (without this file a start or a reload makes a new one)", err)
	}
	now := Access{Address: reachable(address)}
	if c.Admin.TLSCertFile != "" {
		now.Address = "https://" + now.Address
		if now.CertFile, err = filepath.Abs(c.Admin.TLSCertFile); err != nil {
			return nil, err
		}
	}
	if !c.Admin.Token.IsSet() {
		if now.Token = before.Token; now.Token == "" {
			now.Token = madeToken()
		}
		tokens = append(tokens, admin.Token{Name: "admin", Role: admin.Admin, Secret: []byte(now.Token)})
	}
	if now == before {
		return tokens, nil
	}
	content, err := json.MarshalIndent(now, "", "  ")
	if err == nil {
		err = writeNew(filepath.Join(c.DataDir, AccessFile), append(content, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("keep the admin token for commands: %w", err)
	}
	return tokens, nil
}

// madeToken returns a random token.
func madeToken() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails, see crypto/rand
	return hex.EncodeToString(raw[:])
}

// reachable returns where this machine reaches a listener: one on all addresses by loopback.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	switch ip := net.ParseIP(host); {
	case ip == nil || !ip.IsUnspecified():
	case ip.To4() == nil:
		host = net.IPv6loopback.String()
	default:
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// sameListener reports whether two addresses are of one listener, as far as that shows:
// all names of loopback are the same.
func sameListener(a, b string) bool {
	a, b = strings.TrimPrefix(a, "https://"), strings.TrimPrefix(b, "https://")
	a, b = strings.TrimPrefix(a, "http://"), strings.TrimPrefix(b, "http://")
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	local := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified() || admin.Loopback(host)
	}
	return hostA == hostB || local(hostA) && local(hostB)
}

// tokens reads the configured ones.
func (c AdminConfig) tokens(f *faults) (all []admin.Token) {
	read := func(key, name, role string, from Secret) {
		if !from.IsSet() {
			return
		}
		value, err := from.Resolve()
		if err != nil {
			f.add(key, "%v", err)
			return
		}
		if slices.ContainsFunc(all, func(t admin.Token) bool { return bytes.Equal(t.Secret, value) }) {
			f.add(key, "is the same as another token, so that its role would not be clear")
		}
		all = append(all, admin.Token{Name: name, Role: admin.Role(role), Secret: value})
	}
	read("admin.token", "admin", string(admin.Admin), c.Token)
	for _, name := range slices.Sorted(maps.Keys(c.Tokens)) {
		read("admin.tokens."+name+".token", name, c.Tokens[name].Role, c.Tokens[name].Token)
	}
	return all
}
