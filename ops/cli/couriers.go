package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) couriers() *cobra.Command {
	subcommands := append([]*cobra.Command{c.couriersList(), c.couriersReload(), c.couriersUnmapped()}, c.Couriers...)
	return group("couriers", "Look at the active couriers, and reload them", subcommands...)
}

func (c *commands) couriersList() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:     "list",
		Short:   "List the active couriers, and warn of what is not verified",
		Example: "  appliance couriers list",
	}, (*client.Client).Couriers, c.print.couriers)
}

func (p *printer) couriers(list ops.CourierList) error {
	if len(list.Couriers) == 0 {
		_, err := fmt.Fprintln(p.out, "no couriers: add one to the configuration, then: appliance couriers reload")
		return err
	}
	t := terminal.NewTable(p.out)
	t.Row("NAME", "MODE", "SCHEME", "PRESET", "VERIFICATION COVERS", "KEYS")
	for _, one := range list.Couriers {
		name := one.Name
		if one.Default {
			name += " (default)"
		}
		t.Row(name, one.Mode, one.Scheme, one.Preset, one.Binding, keyNames(&one))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, one := range list.Couriers {
		for _, warning := range courierWarnings(&one) {
			p.say("WARNING %s: %s", one.Name, warning)
		}
	}
	return nil
}

// keyNames names a courier's keys, with the state of those that are not valid.
func keyNames(c *ops.CourierInfo) string {
	var keys []string
	for _, k := range c.Keys {
		if k.State == ops.KeyValid {
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

// courierWarnings says how a courier is less safe than it could be.
func courierWarnings(c *ops.CourierInfo) (texts []string) {
	warn := func(is bool, text string) {
		if is {
			texts = append(texts, text)
		}
	}
	warn(c.Mode == ops.ModeObserve, "observe mode: its requests are accepted whether they verify or not")
	warn(c.Unverified, "preset "+c.Preset+" does not come from the sender's own pages in all parts: see in observe mode that it is right")
	warn(!c.BindsBody, "the body is not verified: anybody who sees one of its requests can send others")
	warn(c.UnsignedID != "", "its events are named by the header "+c.UnsignedID+", which is not verified: a request repeated with another one makes another event")
	warn(c.PublicKeys == nil && len(c.Keys) > 0 && !hasValidKey(c), "none of its keys is valid now")
	if c.PublicKeys != nil {
		warn(c.PublicKeys.Problem != "", "its public keys could not be loaded: "+c.PublicKeys.Problem)
	}
	return texts
}

func hasValidKey(c *ops.CourierInfo) bool {
	for _, k := range c.Keys {
		if k.State == ops.KeyValid {
			return true
		}
	}
	return false
}

func (c *commands) couriersReload() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:     "reload",
		Short:   "Read the couriers from the configuration again",
		Example: "  appliance couriers reload",
		Long: "Read the couriers from the configuration again, as SIGHUP does.\n\n" +
			"When it is wrong all its faults are listed, and the couriers before it stay active.",
	}, (*client.Client).Reload, c.print.reload)
}

func (p *printer) reload(r ops.ReloadReport) error {
	if len(r.Changed) > 0 {
		p.say("changed too, but only a restart applies it: %s", strings.Join(r.Changed, ", "))
	}
	_, err := fmt.Fprintf(p.out, "active couriers: %d\n", r.Couriers)
	return err
}

func (c *commands) couriersUnmapped() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:   "unmapped",
		Short: "List the statuses that no mapping knows",
		Long: "List the statuses that no mapping knew when they came. They are in the history of their\n" +
			"shipments, and changed no state. Add one to the courier's states as it is listed, with\n" +
			"its detail behind a slash or without, reload, and then let `events reprocess` read its\n" +
			"events again.",
		Example: "  appliance couriers unmapped\n  appliance couriers unmapped --json",
	}, (*client.Client).Unmapped, c.print.unmapped)
}

func (p *printer) unmapped(list ops.UnmappedList) error {
	if len(list.Statuses) == 0 {
		p.say("every status that came is mapped")
		return nil
	}
	t := terminal.NewTable(p.out)
	t.Row("COURIER", "STATUS", "EVENTS", "FIRST SEEN", "LAST SEEN", "EXAMPLE", "NOW")
	for _, s := range list.Statuses {
		status, now := s.Status, "not mapped"
		if status == "" {
			status = "(others)"
		}
		if s.Mapped {
			now = "mapped, reprocess"
		}
		t.Row(s.Courier, status, strconv.FormatInt(s.Events, 10), p.clock.Format(s.FirstSeen), p.clock.Format(s.LastSeen), s.Key, now)
	}
	return t.Flush()
}
