package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	operators "github.com/fincart/courier-gateway/ops/cli"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// addCompletions makes a shell complete, for every command below cmd, what is known: the
// couriers of the configuration, the presets, the error codes, and the words of flags.
func addCompletions(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		addCompletions(sub)
	}
	codes := operators.DeadLetterCodes
	if cmd.HasParent() && cmd.Parent().Name() == "rejections" {
		codes = operators.RefusalCodes
	}
	for flag, words := range map[string]func(*cobra.Command) []string{
		"courier": courierNames,
		"code":    func(*cobra.Command) []string { return texts(codes) },
		"role":    func(*cobra.Command) []string { return []string{config.RoleAll, config.RoleIngest, config.RoleProcess} },
		"color":   func(*cobra.Command) []string { return terminal.Colors },
		"sync": func(*cobra.Command) []string {
			return []string{config.SyncGroup, config.SyncAlways, config.SyncInterval}
		},
	} {
		if cmd.LocalFlags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, completeFrom(words, -1)) // fails only for a flag that has one
		}
	}
	switch cmd.CommandPath() {
	case "appliance couriers test":
		cmd.ValidArgsFunction = completeFrom(courierNames, 0)
	case "appliance couriers presets":
		cmd.ValidArgsFunction = completeFrom(func(*cobra.Command) []string { return presetNames() }, 0)
	case "appliance events show", "appliance shipments show", "appliance dlq show", "appliance rejections show":
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// completeFrom completes the argument with this number, or a flag, from words; arguments
// after it are files.
func completeFrom(words func(*cobra.Command) []string, argument int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if argument >= 0 && len(args) > argument {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return words(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// courierNames returns the couriers of the configuration, as far as it can be read.
func courierNames(cmd *cobra.Command) []string {
	l, err := read(cmd, "")
	if err != nil {
		return nil
	}
	return l.WithDemo().CourierNames()
}

// presetNames returns the presets, in order.
func presetNames() (names []string) {
	all, _ := config.Presets() // without any there is nothing to complete
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func texts(codes []event.Code) (all []string) {
	for _, code := range codes {
		all = append(all, string(code))
	}
	return all
}
