package config

import (
	"bytes"
	"cmp"
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
	"syscall"

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
// makes unless the configuration has one. A start makes a new one, because whoever listened
// on the address until then may have been sent the last; reload keeps the one that is there.
func (c Config) OpenAccess(address net.Addr, reload bool, warn func(msg string, args ...any)) ([]admin.Token, error) {
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
	made := !c.Admin.Token.IsSet()
	if made {
		if now.Token = before.Token; now.Token == "" || !reload {
			now.Token = madeToken()
		}
	}
	if now != before {
		err = now.write(filepath.Join(c.DataDir, AccessFile))
	}
	switch full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); {
	case full:
		warn("the disk of the data directory is full: commands find the operators' listener and its token as the last start had them", "address", now.Address, "error", err)
		now.Token = cmp.Or(before.Token, now.Token)
	case err != nil:
		return nil, fmt.Errorf("keep the admin token for commands: %w", err)
	}
	if made {
		tokens = append(tokens, admin.Token{Name: "admin", Role: admin.Admin, Secret: []byte(now.Token)})
	}
	return tokens, nil
}

// write keeps a for commands.
func (a Access) write(path string) error {
	content, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return writeNew(path, append(content, '\n'))
}

// madeToken returns a random token.
func madeToken() string {
	var raw [32]byte
	rand.Read(raw[:]) // never fails, see crypto/rand
	return hex.EncodeToString(raw[:])
}

// reachable returns where this machine reaches a listener: one on all addresses by loopback.
func reachable(address net.Addr) string { return listener(address.String()) }

// listener returns the HOST:PORT of an address or a URL, the same for each way to write it.
// One on all addresses, and localhost, are 127.0.0.1: Go's listeners on all addresses are
// there too. Any other address of loopback is another one, which every user may listen on.
func listener(address string) string {
	address = strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://")
	host, port, err := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	if err != nil {
		return address
	}
	switch ip := net.ParseIP(host); {
	case host == "" || strings.EqualFold(host, "localhost") || ip != nil && ip.IsUnspecified():
		host = "127.0.0.1"
	case ip != nil:
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}

// tokens reads the configured ones.
func (c AdminConfig) tokens(f *faults) (all []admin.Token) {
	read := func(key, name, role string, from Secret) {
		if !from.IsSet() {
			return
		}
		value, err := from.resolveOwn()
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
