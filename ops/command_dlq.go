package ops

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

func (c *commands) dlq() *cobra.Command {
	return group("dlq", "Look at dead letters, replay and close them",
		c.dlqList(), c.dlqShow(), c.dlqReplay(), c.dlqClose(), c.dlqReview())
}

// filterFlags are the flags that select dead letters.
type filterFlags struct {
	originFlags
	status, key string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	f.originFlags.add(cmd, event.DomainInvalid)
	wordFlag(cmd, &f.status, "status", "only with this review status", words(event.ReviewStatuses))
	cmd.Flags().StringVar(&f.key, "key", "", "only with this idempotency key")
}

func (f *filterFlags) filter() (event.DeadLetterFilter, error) {
	status := event.ReviewStatus(strings.ToLower(f.status))
	if status != "" && !slices.Contains(event.ReviewStatuses, status) {
		return event.DeadLetterFilter{}, usageError("--status %q is none of %v", f.status, event.ReviewStatuses)
	}
	return event.DeadLetterFilter{
		Courier: f.courier, Code: f.errorCode(), Status: status, Key: f.key,
	}, nil
}

func (c *commands) dlqList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List dead letters"}
	var flags filterFlags
	flags.add(cmd)
	return listCommand(c, cmd, listing[DeadLetterPage, DeadLetterRow]{
		things: "dead letters", member: "deadLetters",
		head:  []string{"ID", "DEAD SINCE", "STATUS", "ERROR", "ATTEMPTS", "COURIER", "KEY", "MESSAGE"},
		cells: c.letterCells,
		pages: func(ctx context.Context, client *Client, p pageFlags) (iter.Seq2[DeadLetterPage, error], error) {
			filter, err := flags.filter()
			filter.Limit, filter.After = p.limit, p.after
			return client.DeadLetterPages(ctx, filter), err
		},
	})
}

func (c *commands) letterCells(d DeadLetterRow) []string {
	return []string{
		d.ID, c.clock.when(d.DeadAt), string(d.ReviewStatus), string(d.Code), strconv.Itoa(len(d.Attempts)),
		d.Courier, d.Key, clip(d.Message, maxShownMessage),
	}
}

func (c *commands) dlqShow() *cobra.Command {
	return showCommand(c, &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter whole: why, every attempt, headers and body",
	}, (*Client).DeadLetter, c.printLetter)
}

func (c *commands) printLetter(d event.DeadLetter) error {
	t := newTable(c.Out)
	t.row("id", d.ID)
	t.row("key", d.Key)
	t.row("courier", d.Courier)
	t.row("error", codeAndMessage(d.Code, d.Message))
	t.row("dead since", c.clock.when(d.DeadAt))
	t.row("received", c.clock.when(d.ReceivedAt))
	t.field("event", d.EventID)
	t.field("shipment", d.ShipmentID)
	t.field("trace", d.TraceID)
	t.row("sequence", strconv.FormatUint(d.Sequence, 10))
	t.row("review", string(d.ReviewStatus))
	if !d.ReviewedAt.IsZero() {
		t.row("reviewed", c.clock.when(d.ReviewedAt))
	}
	t.field("note", d.Note)
	t.field("replay of", d.ReplayOf)
	for _, r := range d.Replays {
		t.row("replayed", fmt.Sprintf("%s as sequence %d, nonce %s", c.clock.when(r.At), r.Sequence, r.Nonce))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := c.printAttempts(d.Attempts); err != nil {
		return err
	}
	return c.printMessage(d)
}

// printMessage shows headers and body as they stood on the queue.
func (c *commands) printMessage(d event.DeadLetter) error {
	t := newTable(c.Out)
	t.gap()
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		t.row(name, d.Headers[name])
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, "\n%s\n", showBody(d.Body))
	return err
}
