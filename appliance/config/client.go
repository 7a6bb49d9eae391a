package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
)

// Client is what a command needs to find the running appliance.
//
// It is read by itself, and a configuration file that is broken costs a warning: the
// appliance goes on with what it was started with, and a container's health check must
// not end it because a file with a mistake was saved.
type Client struct {
	Listen   string
	Token    Secret
	Warnings []string
}

// Keys of the file that a client reads.
const (
	keyAdminListen = "admin.listen"
	keyAdminToken  = "admin.token"
)

// ReadClient returns how to reach the appliance: flags over environment over file over
// defaults. path is the file that was named on the command line, listen the address;
// "" for none.
func ReadClient(path, listen string) Client {
	cfg := Client{Listen: Defaults().Admin.Listen, Token: Defaults().Admin.Token}
	cfg.readFile(path)
	for name, to := range map[string]func(string){
		"APPLIANCE_ADMIN__LISTEN": func(v string) { cfg.Listen = cmp.Or(v, cfg.Listen) },
		"APPLIANCE_ADMIN__TOKEN":  func(v string) { cfg.Token = Secret(v) },
	} {
		if value, set := os.LookupEnv(name); set {
			to(value)
		}
	}
	cfg.Listen = cmp.Or(listen, cfg.Listen)
	return cfg
}

func (c *Client) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// readFile takes what the file says, as far as it can be read. asked is the file that
// was named on the command line, "" for none.
func (c *Client) readFile(asked string) {
	path := cmp.Or(asked, os.Getenv(EnvConfig), DefaultFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		if asked != "" || os.Getenv(EnvConfig) != "" || !errors.Is(err, fs.ErrNotExist) {
			c.warn("the configuration file can't be read, using %s: %v", c.Listen, err)
		}
		return
	}
	values, err := clientValues(raw)
	if err != nil {
		c.warn("the configuration file %s has a mistake, only %s and %s are read from it (`appliance config check` has all mistakes): %v",
			path, keyAdminListen, keyAdminToken, err)
	}
	text := func(key string, usable func(string) bool, what string) string {
		value, there := values[key]
		text, isText := value.(string)
		if there && (!isText || !usable(text)) {
			c.warn("%s of %s is not used, it is not %s", key, path, what)
			return ""
		}
		return text
	}
	c.Listen = cmp.Or(text(keyAdminListen, listens, "HOST:PORT"), c.Listen)
	c.Token = Secret(cmp.Or(text(keyAdminToken, func(string) bool { return true }, "text"), string(c.Token)))
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
			pick(values, part)
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
	for key, value := range map[string]any{keyAdminListen: admin["listen"], keyAdminToken: admin["token"]} {
		if _, known := values[key]; value != nil && !known {
			values[key] = value
		}
	}
	return values
}

// Bearer returns the token, "" with a warning when it can't be read.
func (c *Client) Bearer() string {
	if !c.Token.IsSet() {
		return ""
	}
	value, err := c.Token.Resolve()
	if err != nil {
		c.warn("%s can't be read, asking without it: %v", keyAdminToken, err)
	}
	return string(value)
}
