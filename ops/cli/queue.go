package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) queue() *cobra.Command {
	return group("queue", "Look at what the queue has lost, and acknowledge it", c.queueLosses(), c.queueAcknowledge())
}

func (c *commands) queueLosses() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:   "losses",
		Short: "List accepted events that the queue has lost, oldest first",
		Long: "List accepted events that the queue has lost, the oldest loss first.\n\n" +
			"The appliance is degraded until every loss is acknowledged. A sequence is an event's\nplace in the queue; ledger rows and dead letters show it, too.",
		Example: "  appliance queue losses --json",
	}, (*client.Client).Losses, c.print.losses)
}

func (p *printer) losses(list ops.LossList) error {
	if len(list.Losses) == 0 {
		p.say("the queue has lost nothing that is known")
		return nil
	}
	t := terminal.NewTable(p.out)
	t.Row("ID", "FOUND", "CAUSE", "EVENTS", "SEQUENCES", "ACKNOWLEDGED", "NOTE")
	for _, l := range list.Losses {
		acknowledged := "no"
		if !l.AcknowledgedAt.IsZero() {
			acknowledged = p.clock.Format(l.AcknowledgedAt)
		}
		t.Row(l.ID, p.clock.Format(l.FoundAt), string(l.Cause), lossCount(l), lossSequences(l), acknowledged, l.Note)
	}
	return t.Flush()
}

// lossCount shows how much is lost, as far as it is known.
func lossCount(l loss.Loss) string {
	switch {
	case l.Events == 0:
		return fmt.Sprintf("unknown (%s)", terminal.Size(int64(l.Bytes)))
	case l.Unchecked > 0:
		return fmt.Sprintf("%d (%d not looked up yet)", l.Events, l.Unchecked)
	default:
		return strconv.FormatUint(l.Events, 10)
	}
}

// maxShownRanges is how many runs of sequences of a loss are shown to people; --json
// has more.
const maxShownRanges = 5

func lossSequences(l loss.Loss) string {
	var parts []string
	for _, r := range l.Sequences[:min(len(l.Sequences), maxShownRanges)] {
		part := strconv.FormatUint(r.First, 10)
		if r.Last > r.First {
			part += "-" + strconv.FormatUint(r.Last, 10)
		}
		parts = append(parts, part)
	}
	text := strings.Join(parts, ", ")
	if len(l.Sequences) > maxShownRanges || l.Truncated {
		text += ", …"
	}
	return text
}

// lossKind is the kind of thing that acknowledge-loss acts on.
var lossKind = kind{
	one: "loss", many: "losses",
	lookUp: func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
		list, err := api.Losses(ctx)
		if err != nil {
			return actionResult{}, err
		}
		for _, l := range list.Losses {
			if l.ID == id {
				return lossResult(l), nil
			}
		}
		return actionResult{}, ops.Refuse(event.NotFound, "the queue has no loss %q: `appliance queue losses` lists them", id)
	},
	head:   []string{"ID", "LOST"},
	cells:  func(d actionResult) []string { return []string{d.ID, d.Detail} },
	detail: func(d actionResult) string { return "(" + d.Detail + ")" },
}

func lossResult(l loss.Loss) actionResult {
	detail := lossCount(l)
	if l.Events > 0 {
		detail = fmt.Sprintf("%d events: %s", l.Events, lossSequences(l))
	}
	return actionResult{ID: l.ID, Detail: detail, known: true}
}

func (c *commands) queueAcknowledge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acknowledge-loss ID... | --all",
		Short: "Acknowledge that events are lost, so that the appliance is healthy again",
		Long: "Acknowledge that events are lost, so that the appliance is healthy again. It brings\n" +
			"nothing back: have the couriers send the events once more first. A new loss needs an\nacknowledgement of its own. --all takes every loss that has none.",
		Example: "  appliance queue acknowledge-loss 1 --note 'courier has sent them again'",
	}
	var flags actFlags
	flags.add(cmd)
	all := cmd.Flags().Bool("all", false, "every loss that is not acknowledged")
	note := cmd.Flags().String("note", "", "what was done about it, in your words")
	cmd.PreRunE = func(_ *cobra.Command, ids []string) error {
		if *all == (len(ids) > 0) {
			return usageError("give ids or --all")
		}
		return nil
	}
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, ids []string) error {
		act := action{kind: lossKind, verb: "acknowledge", past: "acknowledged"}
		act.do = func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
			loss, err := api.AcknowledgeLoss(ctx, id, *note)
			return lossResult(loss), err
		}
		return c.act(cmd, api, act, flags, ids, func(ctx context.Context) ([]actionResult, error) {
			return openLosses(ctx, api)
		})
	})
}

// openLosses returns every loss that is not acknowledged.
func openLosses(ctx context.Context, api *client.Client) (open []actionResult, err error) {
	list, err := api.Losses(ctx)
	for _, l := range list.Losses {
		if l.AcknowledgedAt.IsZero() {
			open = append(open, lossResult(l))
		}
	}
	return open, err
}
