package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/app"
	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show or check the configuration"}
	cmd.AddCommand(configShow(), configCheck())
	return cmd
}

func configShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print every key with its effective value and where it comes from", Args: cobra.NoArgs,
		Long: "Print every key with its effective value and where it comes from: the default,\n" +
			"a file, the environment or a flag. Secrets are shown as references only.",
		Example: "  appliance config show\n  appliance config show --json --config appliance.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := load(cmd)
			if err != nil {
				return err
			}
			settings, err := l.Settings()
			if err != nil {
				return err
			}
			if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
				return terminal.PrintJSON(cmd.OutOrStdout(), map[string][]config.Setting{"settings": settings})
			}
			table := terminal.NewTable(cmd.OutOrStdout())
			table.Empty = ""
			table.Row("KEY", "VALUE", "ORIGIN")
			for _, s := range settings {
				table.Row(s.Key, valueText(s.Value), s.Origin)
			}
			return table.Flush()
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}

// valueText shows a value: lists and tables as JSON has them.
func valueText(value any) string {
	if kind := reflect.ValueOf(value).Kind(); kind == reflect.Slice || kind == reflect.Map {
		if text, err := json.Marshal(value); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(value)
}

func configCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Report everything that is wrong with the configuration", Args: cobra.NoArgs,
		Long: "Read the configuration as serve does, with every secret that it refers to, and\n" +
			"report everything that is wrong with it, and what is likely to be. Nothing is\n" +
			"started or made.",
		Example: "  appliance config check\n  appliance config check --json --config appliance.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := read(cmd, "")
			warnings := config.Faults{}
			if err == nil {
				err = l.Check()
				warnings = append(append(warnings, l.Warnings()...), app.MachineWarnings(l.Config)...)
			}
			asJSON, _ := cmd.Flags().GetBool("json")
			if asJSON {
				report := checkReport{OK: err == nil, File: l.File, Faults: faultsOf(err), Warnings: warnings}
				return errors.Join(err, terminal.PrintJSON(cmd.OutOrStdout(), report))
			}
			for _, warning := range warnings {
				fmt.Fprintln(cmd.OutOrStdout(), "WARNING", terminal.Escape(warning.String()))
			}
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "The configuration is good.")
			}
			return err
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}

// checkReport is what config check prints with --json.
type checkReport struct {
	OK     bool           `json:"ok"`
	File   string         `json:"file,omitempty"`
	Faults []config.Fault `json:"faults"`

	Warnings []config.Fault `json:"warnings"`
}

// faultsOf returns what is wrong with a configuration: one fault about the file as a whole
// when it could not be read.
func faultsOf(err error) []config.Fault {
	if faults, ok := errors.AsType[config.Faults](err); ok {
		return faults
	}
	if err != nil {
		return []config.Fault{{Path: "$", Message: err.Error()}}
	}
	return []config.Fault{}
}
