package main

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// flagKeys are the flags that stand for a key of the configuration.
var flagKeys = map[string]string{
	"data-dir":     "data_dir",
	"listen":       "ingest.listen",
	"admin-listen": "admin.listen",
	"role":         "role",
}

// load reads the configuration that a command line asks for. Keys that do not
// exist and values that do not fit are errors.
func (c *cli) load(cmd *cobra.Command) (config.Loaded, error) {
	l, err := c.read(cmd, "")
	if err == nil {
		err = l.Err()
	}
	return l, err
}

// loadParts reads the configuration for a command that needs only what is below these
// keys: mistakes elsewhere do not keep it from its work.
func (c *cli) loadParts(cmd *cobra.Command, keys ...string) (config.Loaded, error) {
	l, err := c.read(cmd, "")
	if err != nil {
		return l, err
	}
	return l, l.Err(keys...)
}

// read reads the configuration that a command line asks for, with its faults in
// it. A file that was found where none was named is named by used.
func (c *cli) read(cmd *cobra.Command, used string) (config.Loaded, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return config.Loaded{}, err
	}
	set := map[string]any{}
	for name, key := range flagKeys {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			set[key] = f.Value.String()
		}
	}
	return config.Load(cmp.Or(path, used), set)
}

func (c *cli) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show or check the configuration"}
	cmd.AddCommand(c.configShow(), c.configCheck())
	return cmd
}

func (c *cli) configShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print every key with its effective value and where it comes from", Args: cobra.NoArgs,
		Long: "Print every key with its effective value and where it comes from: the default,\n" +
			"a file, the environment or a flag. Secrets are shown as references only.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.load(cmd)
			if err != nil {
				return err
			}
			settings, err := l.Settings()
			if err != nil {
				return err
			}
			if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
				return terminal.PrintJSON(c.out, settings)
			}
			table := terminal.NewTable(c.out)
			table.Empty = ""
			table.Row("KEY", "VALUE", "ORIGIN")
			for _, s := range settings {
				table.Row(s.Key, fmt.Sprint(s.Value), s.Origin)
			}
			return table.Flush()
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}

func (c *cli) configCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Report everything that is wrong with the configuration", Args: cobra.NoArgs,
		Long: "Read the configuration as serve does, with every secret that it refers to, and\n" +
			"report everything that is wrong with it. Nothing is started or made.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := c.read(cmd, "")
			if err == nil {
				err = l.Check()
			}
			asJSON, _ := cmd.Flags().GetBool("json")
			if asJSON {
				report := struct {
					OK    bool   `json:"ok"`
					File  string `json:"file,omitempty"`
					Error string `json:"error,omitempty"`
				}{err == nil, l.File, ""}
				if err != nil {
					report.Error = err.Error()
				}
				if jerr := json.NewEncoder(c.out).Encode(report); jerr != nil {
					return jerr
				}
				return err
			}
			if err == nil {
				fmt.Fprintln(c.out, "The configuration is good.")
			}
			return err
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}
