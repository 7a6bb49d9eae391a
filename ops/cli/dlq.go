package cli

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
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) dlq() *cobra.Command {
	return group("dlq", "Look at dead letters, replay and close them",
		c.dlqList(), c.dlqShow(), c.dlqReplay(), dlqClose(c), dlqReview(c))
}

// filterFlags are the flags that select dead letters.
type filterFlags struct {
	originFlags
	status, key string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	f.originFlags.add(cmd, event.DomainInvalid, DeadLetterCodes)
	wordFlag(cmd, &f.status, "status", "only with this review status", ops.Words(event.ReviewStatuses))
	cmd.Flags().StringVar(&f.key, "key", "", "only with this idempotency key")
}

func (f *filterFlags) filter() (event.DeadLetterFilter, error) {
	status := event.ReviewStatus(strings.ToLower(f.status))
	if status != "" && !slices.Contains(event.ReviewStatuses, status) {
		return event.DeadLetterFilter{}, usageError("--status %q is none of %v", f.status, event.ReviewStatuses)
	}
	code, err := f.errorCode()
	return event.DeadLetterFilter{Courier: f.courier, Code: code, Status: status, Key: f.key}, err
}

func (c *commands) dlqList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List dead letters", Example: "  appliance dlq list --status pending --courier demo\n  appliance dlq list --code DOMAIN_INVALID --all-pages --json"}
	var flags filterFlags
	flags.add(cmd)
	return listCommand(c, cmd, listing[ops.DeadLetterPage, ops.DeadLetterRow]{
		things: "dead letters", member: "deadLetters",
		head:  []string{"ID", "DEAD SINCE", "STATUS", "ERROR", "ATTEMPTS", "COURIER", "KEY", "MESSAGE"},
		cells: c.print.letterCells, courier: &flags.courier,
		pages: func(ctx context.Context, api *client.Client, p pageFlags) (iter.Seq2[ops.DeadLetterPage, error], error) {
			filter, err := flags.filter()
			filter.Limit, filter.After = p.limit, p.after
			return api.DeadLetterPages(ctx, filter), err
		},
	})
}

func (p *printer) letterCells(d ops.DeadLetterRow) []string {
	return []string{
		d.ID, p.clock.Format(d.DeadAt), string(d.ReviewStatus), string(d.Code), strconv.Itoa(len(d.Attempts)),
		d.Courier, d.Key, terminal.Clip(d.Message, maxShownMessage),
	}
}

func (c *commands) dlqShow() *cobra.Command {
	return showCommand(c, &cobra.Command{
		Use:     "show ID",
		Short:   "Show one dead letter whole: why, every attempt, headers and body",
		Example: "  appliance dlq show 42-9f86d081",
	}, (*client.Client).DeadLetter, c.print.letter)
}

func (p *printer) letter(d event.DeadLetter) error {
	t := terminal.NewTable(p.out)
	t.Row("id", d.ID)
	t.Row("key", d.Key)
	t.Row("courier", d.Courier)
	t.Row("error", codeAndMessage(d.Code, d.Message))
	t.Row("dead since", p.clock.Format(d.DeadAt))
	t.Row("received", p.clock.Format(d.ReceivedAt))
	t.Field("event", d.EventID)
	t.Field("shipment", d.ShipmentID)
	t.Field("trace", d.TraceID)
	t.Row("sequence", strconv.FormatUint(d.Sequence, 10))
	t.Row("review", string(d.ReviewStatus))
	if !d.ReviewedAt.IsZero() {
		t.Row("reviewed", p.clock.Format(d.ReviewedAt))
	}
	t.Field("note", d.Note)
	t.Field("replay of", d.ReplayOf)
	for _, r := range d.Replays {
		t.Row("replayed", fmt.Sprintf("%s as sequence %d, nonce %s", p.clock.Format(r.At), r.Sequence, r.Nonce))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := p.attempts(d.Attempts); err != nil {
		return err
	}
	return p.message(d)
}

// message prints headers and body as they were on the queue.
func (p *printer) message(d event.DeadLetter) error {
	t := terminal.NewTable(p.out)
	t.Gap()
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		t.Row(name, d.Headers[name])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.out, "\n%s\n", bodyText(d.Body))
	return err
}

// deadLetter is the kind of thing that the dlq commands act on.
var deadLetter = kind{
	one: "dead letter", many: "dead letters",
	lookUp: func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
		letter, err := api.DeadLetter(ctx, id)
		return resultOf(letter), err
	},
	head: []string{"ID", "STATUS", "ERROR", "COURIER", "KEY"},
	cells: func(d actionResult) []string {
		return []string{d.ID, string(d.Status), string(d.Code), d.Courier, d.Key}
	},
	detail: func(d actionResult) string {
		if d.Sequence == 0 {
			return ""
		}
		return fmt.Sprintf("as sequence %d", d.Sequence)
	},
}

func (c *commands) dlqReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay ID... | --all",
		Short: "Requeue the events of dead letters",
		Long: "Requeue the events of dead letters, so that they are processed again.\n\n" +
			"--all replays every letter that the filters select; without --status it omits those\nthat were replayed or closed before.",
		Example: "  appliance dlq replay 42-9f86d081\n  appliance dlq replay --all --code DOMAIN_INVALID --dry-run",
	}
	var act actFlags
	var flags filterFlags
	var selection selectionFlags
	act.add(cmd)
	flags.add(cmd)
	selection.add(cmd, "letter")
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, ids []string) error {
		filter, err := flags.filter()
		if err != nil {
			return err
		}
		replay := action{kind: deadLetter, verb: "replay", past: "replayed", do: replayOne}
		return c.act(cmd, api, replay, act, ids, func(ctx context.Context) ([]actionResult, error) {
			letters, err := openLetters(ctx, api, filter, selection.limit)
			if err == nil && len(letters) == 0 && !act.asJSON {
				c.print.doubt(ctx, api, filter.Courier)
			}
			return letters, err
		})
	})
}

func replayOne(ctx context.Context, api *client.Client, id string) (actionResult, error) {
	link, err := api.Replay(ctx, id)
	return actionResult{ID: id, Nonce: link.Nonce, Sequence: link.Sequence}, err
}

func dlqClose(c *commands) *cobra.Command {
	cmd := &cobra.Command{Use: "close ID...", Short: "Close dead letters that need nothing more", Example: "  appliance dlq close 42-9f86d081 --note 'sent again by the courier'"}
	flags := &actFlags{}
	flags.add(cmd)
	return reviewCommand(c, cmd, flags, event.ReviewClosed, action{kind: deadLetter, verb: "close", past: "closed"})
}

// dlqReview only marks, so it does not ask.
func dlqReview(c *commands) *cobra.Command {
	cmd := &cobra.Command{Use: "review ID...", Short: "Mark dead letters as looked at", Example: "  appliance dlq review 42-9f86d081 --note 'asked the courier'"}
	flags := &actFlags{yes: true}
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print as JSON")
	return reviewCommand(c, cmd, flags, event.ReviewReviewed, action{kind: deadLetter, verb: "review", past: "reviewed"})
}

// reviewCommand completes a command that gives letters a status and a note.
func reviewCommand(c *commands, cmd *cobra.Command, flags *actFlags, status event.ReviewStatus, act action) *cobra.Command {
	note := cmd.Flags().String("note", "", "why, in your words")
	cmd.Args = cobra.MinimumNArgs(1)
	act.do = func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
		letter, err := api.Review(ctx, id, status, *note)
		return resultOf(letter), err
	}
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, ids []string) error {
		return c.act(cmd, api, act, *flags, ids, nil)
	})
}

// openLetters returns every letter that filter selects, at most limit. Without a
// status it takes the open ones.
func openLetters(ctx context.Context, api *client.Client, filter event.DeadLetterFilter, limit int) ([]actionResult, error) {
	filter.Limit = ops.MaxPage
	return collect(api.DeadLetterPages(ctx, filter), limit, func(d ops.DeadLetterRow) (actionResult, bool) {
		open := d.ReviewStatus == event.ReviewPending || d.ReviewStatus == event.ReviewReviewed
		return resultOf(d.DeadLetter), open || filter.Status != ""
	})
}

func resultOf(d event.DeadLetter) actionResult {
	return actionResult{ID: d.ID, Courier: d.Courier, Key: d.Key, Code: d.Code, Status: d.ReviewStatus, known: true}
}
