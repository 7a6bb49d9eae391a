package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (c *commands) couriers() *cobra.Command {
	subcommands := append([]*cobra.Command{c.couriersList(), c.couriersReload()}, c.Couriers...)
	return group("couriers", "Look at the couriers in force, and reload them", subcommands...)
}

func (c *commands) couriersList() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:   "list",
		Short: "List the couriers in force, and warn of what their proof does not cover",
	}, (*Client).Couriers, c.printCouriers)
}

func (c *commands) printCouriers(list CourierList) error {
	if len(list.Couriers) == 0 {
		_, err := fmt.Fprintln(c.Out, "no couriers: add one to the configuration, then: appliance couriers reload")
		return err
	}
	t := newTable(c.Out)
	t.row("NAME", "MODE", "SCHEME", "PRESET", "PROOF COVERS", "KEYS")
	for _, one := range list.Couriers {
		name := one.Name
		if one.Default {
			name += " (default)"
		}
		t.row(name, one.Mode, one.Scheme, one.Preset, one.Binding, one.keys())
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, one := range list.Couriers {
		for _, warning := range one.warnings() {
			c.say("WARNING %s: %s", safe(one.Name), safe(warning))
		}
	}
	return nil
}

// keys names a courier's keys, with the state of those that are not valid.
func (c *CourierInfo) keys() string {
	var keys []string
	for _, k := range c.Keys {
		if k.State == KeyValid {
			keys = append(keys, k.ID)
		} else {
			keys = append(keys, k.ID+" ("+k.State+")")
		}
	}
	if c.PublicKeys != nil {
		keys = append(keys, fmt.Sprintf("%d of %s", c.PublicKeys.Count, c.PublicKeys.Address))
	}
	return strings.Join(keys, ", ")
}

// warnings tells how a courier is less safe than it could be.
func (c *CourierInfo) warnings() (texts []string) {
	warn := func(is bool, text string) {
		if is {
			texts = append(texts, text)
		}
	}
	warn(c.Mode == ModeObserve, "observe mode: its requests are accepted without proof of who sent them")
	warn(c.Unverified, "preset "+c.Preset+" follows a third party's description: see in observe mode that it is right")
	warn(!c.BindsBody, "its proof does not bind the body: whoever sees one of its requests can send others")
	warn(c.UnsignedID != "", "its events are named by the header "+c.UnsignedID+", which its proof does not cover: who repeats a request with another one makes another event")
	warn(c.PublicKeys == nil && len(c.Keys) > 0 && !c.hasValidKey(), "none of its keys is valid now")
	if c.PublicKeys != nil {
		warn(c.PublicKeys.Problem != "", "its public keys could not be loaded: "+c.PublicKeys.Problem)
	}
	return texts
}

func (c *CourierInfo) hasValidKey() bool {
	for _, k := range c.Keys {
		if k.State == KeyValid {
			return true
		}
	}
	return false
}

func (c *commands) couriersReload() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:   "reload",
		Short: "Take over the couriers from the configuration as it is now",
		Long: "Take over the couriers from the configuration as it is now, as SIGHUP does.\n\n" +
			"When it is wrong all its faults are told, and the couriers before stay in force.",
	}, func(client *Client, ctx context.Context) (ReloadReport, error) {
		report, err := client.Reload(ctx)
		return report, lineByLine(err)
	}, c.printReload)
}

// lineByLine keeps the lines of a refusal that lists faults.
func lineByLine(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok && p.Code == InvalidConfig {
		return errors.New(safeBlock(p.Detail))
	}
	return err
}

func (c *commands) printReload(r ReloadReport) error {
	if len(r.Changed) > 0 {
		c.say("changed too, but not taken over without a restart: %s", safe(strings.Join(r.Changed, ", ")))
	}
	_, err := fmt.Fprintf(c.Out, "couriers in force: %d\n", r.Couriers)
	return err
}
