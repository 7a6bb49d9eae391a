package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/spf13/cobra"
)

// clientConfig is what a command needs to find the running appliance.
//
// It is read by itself, and a configuration file that is broken costs a warning: the
// appliance goes on with what it was started with, and a container's health check must
// not end it because somebody saved a file with a mistake in it.
type clientConfig struct {
	listen   string
	token    Secret
	warnings []string
}

// Keys of the file that a client reads.
const (
	keyAdminListen = "admin.listen"
	keyAdminToken  = "admin.token"
)

// client returns how to reach the appliance: flags over environment over file over
// defaults.
func (c *cli) client(cmd *cobra.Command) (clientConfig, error) {
	cfg := clientConfig{listen: defaults().Admin.Listen, token: defaults().Admin.Token}
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return cfg, err
	}
	cfg.readFile(path)
	for name, to := range map[string]func(string){
		"APPLIANCE_ADMIN__LISTEN": func(v string) { cfg.listen = cmp.Or(v, cfg.listen) },
		"APPLIANCE_ADMIN__TOKEN":  func(v string) { cfg.token = Secret(v) },
	} {
		if value, set := os.LookupEnv(name); set {
			to(value)
		}
	}
	if f := cmd.Flags().Lookup("admin-listen"); f != nil && f.Changed {
		cfg.listen = f.Value.String()
	}
	return cfg, nil
}

func (c *clientConfig) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// readFile takes what the file says, as far as it can be read. asked is the file that
// was named on the command line, "" for none.
func (c *clientConfig) readFile(asked string) {
	path := cmp.Or(asked, os.Getenv(envConfig), defaultFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		if asked != "" || os.Getenv(envConfig) != "" || !errors.Is(err, fs.ErrNotExist) {
			c.warn("the configuration file can't be read, using %s: %v", c.listen, err)
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
	c.listen = cmp.Or(text(keyAdminListen, listens, "HOST:PORT"), c.listen)
	c.token = Secret(cmp.Or(text(keyAdminToken, func(string) bool { return true }, "text"), string(c.token)))
}

// clientValues returns the values that a client reads, by key. With a file that is no
// TOML as a whole it takes each line for itself, and returns the mistake too.
func clientValues(raw []byte) (map[string]any, error) {
	whole, err := toml.Parser().Unmarshal(raw)
	if err == nil {
		return pick(map[string]any{}, whole), nil
	}
	values := map[string]any{}
	section := ""
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
			section = line // of one that is no plain header no key is read
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

// admin finds the running appliance for the operators' commands. A token that can't be
// read is left out: the probes need none.
func (c *cli) admin(cmd *cobra.Command) (address, token string, err error) {
	cfg, err := c.client(cmd)
	if err != nil {
		return "", "", err
	}
	if cfg.token.set() {
		value, err := cfg.token.resolve()
		if err != nil {
			cfg.warn("%s can't be read, asking without it: %v", keyAdminToken, err)
		}
		token = string(value)
	}
	for _, warning := range cfg.warnings {
		fmt.Fprintf(c.err, "appliance: warning: %s\n", warning)
	}
	return cfg.listen, token, nil
}
