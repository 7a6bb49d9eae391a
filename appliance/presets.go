package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// presetsCommand is `couriers presets`: it needs no running appliance, nor any
// configuration.
func presetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the senders that are known, or show one whole",
		Long: "List the senders that are known: a courier needs no more than the name of one as its\n" +
			"preset, and a secret. Those that are not verified come from another\n" +
			"party's description: start them with mode = \"observe\".\n\n" +
			"With NAME it prints all that this preset stands for as a courier without a preset,\n" +
			"to be copied into a configuration and changed there.",
		Example: "  appliance couriers presets\n  appliance couriers presets easypost >> appliance.toml",
		Args:    cobra.MaximumNArgs(1),
	}
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		infos, err := config.PresetInfos()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if *asJSON {
				return terminal.PrintJSON(cmd.OutOrStdout(), map[string][]config.PresetInfo{"presets": infos})
			}
			return printPresets(cmd.OutOrStdout(), infos)
		}
		i := slices.IndexFunc(infos, func(p config.PresetInfo) bool { return p.Name == args[0] })
		if i < 0 {
			return notFound{fmt.Errorf("there is no preset %q%s (`appliance couriers presets` lists all)", args[0], config.DidYouMean(args[0], presetNames()))}
		}
		infos[i].TOML = infos[i].Document()
		if *asJSON {
			return terminal.PrintJSON(cmd.OutOrStdout(), infos[i])
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), infos[i].TOML)
		return err
	}
	return cmd
}

func printPresets(out io.Writer, infos []config.PresetInfo) error {
	table := terminal.NewTable(out)
	table.Row("PRESET", "VERIFIED", "SCHEME", "VERIFICATION COVERS", "SENDER", "SECRET")
	for _, p := range infos {
		verified, secret := "yes", p.Secret
		if p.Unverified {
			verified = "no"
		}
		if secret == "" {
			secret = "none: its keys are public"
		}
		table.Row(p.Name, verified, p.Scheme, p.Binding, p.About, secret)
	}
	return table.Flush()
}
