package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"

	"github.com/fincart/courier-gateway/jetstream/durable"
)

// Client is what a command needs to find the running appliance, and to be let in.
//
// It is read by itself, and a configuration file that is broken costs a warning: the
// appliance goes on with what it was started with, and a container's health check must
// not end it because a file with a mistake was saved.
type Client struct {
	Address  string // HOST:PORT or a URL
	Token    Secret // of the configuration, "" for none or for one that may not be sent
	CertFile string // that the listener shows, "" for one that an authority has signed
	Warnings []string

	made string // the token beside Address in AccessFile
}

// Asked is what the command line says of the appliance that runs, "" for nothing.
type Asked struct{ File, Listen, DataDir string }

// Keys of the file that a client reads.
const (
	keyAdminListen = "admin.listen"
	keyAdminToken  = "admin.token"
	keyAdminCert   = "admin.tls_cert_file"
	keyDataDir     = "data_dir"
)

// named is a setting with who names it. Somebody else may have put files into the
// working directory: what they name was not asked for.
type named struct {
	value string
	asked bool
	by    string
}

// first returns the first one that has a value.
func first(settings ...named) named {
	i := slices.IndexFunc(settings, func(s named) bool { return s.value != "" })
	return settings[max(i, 0)]
}

// ReadClient returns how to reach the appliance: flags over environment over file over
// defaults, with the address and the token that the appliance has left in the data
// directory wherever they are needed.
//
// A token that was not asked for, because it is from a file that was only found in the
// working directory, is sent nowhere. An address that was not asked for is sent no token
// but the one that is beside it.
func ReadClient(asked Asked) Client {
	var c Client
	file := c.readFile(asked.File)
	byFile := func(key string) named { return named{file.values[key], file.asked, file.path} }
	dir := byFile(keyDataDir)
	dir.asked = dir.asked && filepath.IsAbs(dir.value) // others may have made what is in the working directory
	dir = first(
		named{asked.DataDir, true, "--data-dir"}, named{os.Getenv("APPLIANCE_DATA_DIR"), true, "APPLIANCE_DATA_DIR"},
		dir, named{Defaults().DataDir, false, "default"})
	access := c.readAccess(dir)
	left := named{access.Address, dir.asked, filepath.Join(dir.value, AccessFile)}
	listen := byFile(keyAdminListen)
	if strings.HasSuffix(listen.value, ":0") || !listen.asked && left.value != "" {
		listen.value = ""
	}
	address := first(
		named{asked.Listen, true, "--admin-listen"}, named{os.Getenv("APPLIANCE_ADMIN__LISTEN"), true, "APPLIANCE_ADMIN__LISTEN"},
		listen, left, named{Defaults().Admin.Listen, true, "default"})
	c.Address = address.value
	if !address.asked && listener(address.value) == Defaults().Admin.Listen {
		c.Address, address.asked = listener(address.value), true
	}
	same := listener(address.value) == listener(access.Address)
	if same {
		c.Address, c.CertFile = listener(address.value), access.CertFile
		if strings.HasPrefix(access.Address, "https://") || strings.HasPrefix(address.value, "https://") {
			c.Address = "https://" + c.Address
		}
	} else {
		c.secure(address, byFile(keyAdminListen), byFile(keyAdminCert))
	}
	token := byFile(keyAdminToken)
	if value, set := os.LookupEnv("APPLIANCE_ADMIN__TOKEN"); set {
		token = named{value, true, "APPLIANCE_ADMIN__TOKEN"}
	}
	switch {
	case token.value != "" && !token.asked:
		c.warn("%s of %s is not sent, because this file was only found in the working directory: if it is yours, name it by --config %s",
			keyAdminToken, token.by, token.by)
	case token.value != "" && !address.asked:
		c.warn("no token is sent to %s, because only %s in the working directory names this address: if it is yours, name it by --config, --data-dir or --admin-listen",
			address.value, address.by)
	case token.value != "":
		c.Token = Secret(token.value)
	case same || address.asked && dir.asked:
		c.made = access.Token
	}
	return c
}

// secure sets HTTPS and its certificate where the configuration says that the listener shows
// one. A file that was only found speaks for the address where it says that it listens, and
// no file weakens what was asked for as a URL.
func (c *Client) secure(address, listen, cert named) {
	if value, set := os.LookupEnv("APPLIANCE_ADMIN__TLS_CERT_FILE"); set {
		cert = named{value, true, "APPLIANCE_ADMIN__TLS_CERT_FILE"}
	}
	own := listener(address.value) == listener(cmp.Or(listen.value, Defaults().Admin.Listen))
	url := strings.Contains(address.value, "://")
	if cert.value == "" || url && (!own || !cert.asked) || !own && !cert.asked {
		return
	}
	c.CertFile = cert.value
	if !url {
		c.Address = "https://" + listener(address.value)
	}
}

// readAccess reads what the appliance has left in a data directory. In one that was not
// asked for nothing counts that another user has put there, or could have.
func (c *Client) readAccess(dir named) (access Access) {
	var err error
	if !dir.asked {
		if err = durable.OwnedDir(dir.value); err == nil {
			err = durable.Owned(filepath.Join(dir.value, AccessFile))
		}
	}
	if err == nil {
		access, err = ReadAccess(dir.value)
	}
	if err != nil {
		c.warn("what the appliance left for commands in data_dir can't be used, asking without it (--data-dir names another one): %v", err)
		return Access{}
	}
	return access
}

func (c *Client) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// clientFile is what the configuration file says, by key.
type clientFile struct {
	path   string
	asked  bool // it was named, and not only found
	values map[string]string
}

// readFile takes what the file says, as far as it can be read. asked is the file that
// was named on the command line, "" for none.
func (c *Client) readFile(asked string) clientFile {
	asked = cmp.Or(asked, os.Getenv(EnvConfig))
	file := clientFile{path: cmp.Or(asked, DefaultFile), asked: asked != "", values: map[string]string{}}
	raw, err := os.ReadFile(file.path)
	if err != nil {
		if file.asked || !errors.Is(err, fs.ErrNotExist) {
			c.warn("the configuration file can't be read, going on without it: %v", err)
		}
		return file
	}
	values, err := clientValues(raw)
	if err != nil {
		fault := syntaxFault(raw, err)
		fault.File = file.path
		c.warn("the configuration file %s has a mistake, only %s, %s, %s and %s are read from it (`appliance config check` has all mistakes): %s",
			file.path, keyDataDir, keyAdminListen, keyAdminToken, keyAdminCert, fault)
	}
	for key, what := range map[string]string{keyAdminListen: "HOST:PORT", keyAdminToken: "text", keyAdminCert: "text", keyDataDir: "text"} {
		value, there := values[key]
		text, isText := value.(string)
		if there && (!isText || key == keyAdminListen && !listens(text)) {
			c.warn("%s of %s is not used, it is not %s", key, file.path, what)
			continue
		}
		file.values[key] = text
	}
	return file
}

// clientValues returns the values that a client reads, by key. When the file as a
// whole is no TOML, it reads each line by itself, and returns the mistake too.
func clientValues(raw []byte) (map[string]any, error) {
	whole, err := toml.Parser().Unmarshal(raw)
	if err == nil {
		return pick(map[string]any{}, whole), nil
	}
	values := map[string]any{}
	section := ""
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
			section = line // no key is read below a header that is not plain
			if header := tableHeader.FindStringSubmatch(line); header != nil {
				section = header[1]
			}
			continue
		}
		part, err := toml.Parser().Unmarshal([]byte(line))
		switch {
		case err != nil:
		case section == "":
			pick(values, part) // data_dir, or keys that are dotted
		case section == "admin":
			pick(values, map[string]any{"admin": part})
		}
	}
	return values, err
}

var tableHeader = regexp.MustCompile(`^\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?$`)

// pick adds to values those of a document that a client reads, unless they are there.
func pick(values, document map[string]any) map[string]any {
	admin, _ := document["admin"].(map[string]any)
	for key, value := range map[string]any{
		keyAdminListen: admin["listen"], keyAdminToken: admin["token"], keyAdminCert: admin["tls_cert_file"], keyDataDir: document[keyDataDir],
	} {
		if _, known := values[key]; value != nil && !known {
			values[key] = value
		}
	}
	return values
}

// Bearer returns the token, "" with a warning when it can't be read.
func (c *Client) Bearer() string {
	if !c.Token.IsSet() {
		return c.made
	}
	value, err := c.Token.Resolve()
	if err != nil {
		c.warn("%s can't be read, asking without it: %v", keyAdminToken, err)
	}
	return string(value)
}
