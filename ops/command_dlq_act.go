package ops

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

// deadLetter is the kind of thing that the dlq commands act on.
var deadLetter = kind{
	one: "dead letter", many: "dead letters",
	look: func(ctx context.Context, client *Client, id string) (ActionResult, error) {
		letter, err := client.DeadLetter(ctx, id)
		return resultOf(letter), err
	},
	head: []string{"ID", "STATUS", "ERROR", "COURIER", "KEY"},
	cells: func(d ActionResult) []string {
		return []string{d.ID, string(d.Status), string(d.Code), d.Courier, d.Key}
	},
	fate: func(d ActionResult) string {
		if d.Sequence == 0 {
			return ""
		}
		return fmt.Sprintf("as sequence %d", d.Sequence)
	},
}

func (c *commands) dlqReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay ID... | --all",
		Short: "Put events back on the queue",
		Long: "Put the events of dead letters back on the queue.\n\n" +
			"--all takes every letter that the filters select; without --status it leaves out\nthose that were replayed or closed before.",
		Example: "  appliance dlq replay 42-9f86d081\n  appliance dlq replay --all --code DOMAIN_INVALID --dry-run",
	}
	var act actFlags
	var flags filterFlags
	var selection selectionFlags
	act.add(cmd)
	flags.add(cmd)
	selection.add(cmd, "letter")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := selection.check(cmd, ids); err != nil {
			return err
		}
		filter, err := flags.filter()
		if err != nil {
			return err
		}
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		replay := action{kind: deadLetter, verb: "replay", past: "replayed", do: replayOne}
		return c.actOn(cmd, client, replay, act, ids, func(ctx context.Context) ([]ActionResult, error) {
			return openLetters(ctx, client, filter, selection.limit)
		})
	}
	return cmd
}

func replayOne(ctx context.Context, client *Client, id string) (ActionResult, error) {
	link, err := client.Replay(ctx, id)
	return ActionResult{ID: id, Nonce: link.Nonce, Sequence: link.Sequence}, err
}

func (c *commands) dlqClose() *cobra.Command {
	cmd := &cobra.Command{Use: "close ID...", Short: "Close dead letters that need nothing more"}
	flags := &actFlags{}
	flags.add(cmd)
	return c.reviewCommand(cmd, flags, event.ReviewClosed, action{kind: deadLetter, verb: "close", past: "closed"})
}

// dlqReview only marks, so it does not ask.
func (c *commands) dlqReview() *cobra.Command {
	cmd := &cobra.Command{Use: "review ID...", Short: "Mark dead letters as looked at"}
	flags := &actFlags{yes: true}
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print as JSON")
	return c.reviewCommand(cmd, flags, event.ReviewReviewed, action{kind: deadLetter, verb: "review", past: "reviewed"})
}

// reviewCommand completes a command that gives letters a status and a note.
func (c *commands) reviewCommand(cmd *cobra.Command, flags *actFlags, status event.ReviewStatus, act action) *cobra.Command {
	note := cmd.Flags().String("note", "", "why, in your words")
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		act.do = func(ctx context.Context, client *Client, id string) (ActionResult, error) {
			letter, err := client.Review(ctx, id, status, *note)
			return resultOf(letter), err
		}
		return c.act(cmd.Context(), client, act, *flags, named(ids))
	}
	return cmd
}

// openLetters returns every letter that filter selects, at most limit. Without a
// status it takes the open ones.
func openLetters(ctx context.Context, client *Client, filter event.DeadLetterFilter, limit int) ([]ActionResult, error) {
	filter.Limit = MaxPage
	return collect(client.DeadLetterPages(ctx, filter), limit, func(d DeadLetterRow) (ActionResult, bool) {
		open := d.ReviewStatus == event.ReviewPending || d.ReviewStatus == event.ReviewReviewed
		return resultOf(d.DeadLetter), open || filter.Status != ""
	})
}

func resultOf(d event.DeadLetter) ActionResult {
	return ActionResult{ID: d.ID, Courier: d.Courier, Key: d.Key, Code: d.Code, Status: d.ReviewStatus, known: true}
}
