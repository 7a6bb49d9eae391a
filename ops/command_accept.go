package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

// refusedRequest is the kind of thing that rejections accept acts on.
var refusedRequest = kind{
	one: "refused request", many: "refused requests",
	look: func(ctx context.Context, client *Client, id string) (ActionResult, error) {
		record, err := client.Rejection(ctx, id)
		if err != nil {
			return ActionResult{}, err
		}
		if refusal := untakeable(&record); refusal != nil {
			return ActionResult{}, refusal
		}
		return refusedResult(&record), nil
	},
	head: []string{"ID", "ERROR", "COURIER", "DETAIL"},
	cells: func(r ActionResult) []string {
		return []string{r.ID, string(r.Code), r.Courier, clip(r.Detail, maxShownMessage)}
	},
	fate: func(r ActionResult) string {
		fate := fmt.Sprintf("as event %s, sequence %d", r.Key, r.Sequence)
		if r.Conflict {
			return fmt.Sprintf("as event %s, which was on the queue already with another body: that one counts", r.Key)
		}
		if r.Duplicate {
			fate += ", which was on the queue already"
		}
		return fate
	},
}

func refusedResult(r *event.IngestionRecord) ActionResult {
	return ActionResult{ID: r.ID, Courier: r.Courier, Code: r.Code, Detail: r.Detail, known: true}
}

func (c *commands) rejectionsAccept() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept ID... | --all",
		Short: "Take in requests that were refused",
		Long: "Take in requests that were refused, as if they had been accepted.\n\n" +
			"Each is checked again by the couriers as they are now: correct what was wrong with\n" +
			"the settings first, and reload them. --vouch takes in requests without that proof, on\n" +
			"your word that you know who sent them.\n\n" +
			"--all takes every request that the filters select, was kept whole and was not taken in\n" +
			"before, the oldest first.",
		Example: "  appliance rejections accept 019c9a0e2b00-9f86d081884c7d65\n" +
			"  appliance rejections accept --all --courier demo --code INVALID_SIGNATURE --dry-run",
	}
	var act actFlags
	var flags originFlags
	var selection selectionFlags
	act.add(cmd)
	flags.add(cmd, event.InvalidSignature)
	selection.add(cmd, "request")
	vouch := cmd.Flags().Bool("vouch", false, "take them in without proof of who sent them: you know it; with --all only of one --courier")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := selection.check(cmd, ids); err != nil {
			return err
		}
		if *vouch && selection.all && flags.courier == "" {
			return usageError("--vouch for --all would take in what anybody sent: add --courier")
		}
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		return c.actOn(cmd, client, acceptance(*vouch), act, ids, func(ctx context.Context) ([]ActionResult, error) {
			return c.openRejections(ctx, client, event.IngestionFilter{Courier: flags.courier, Code: flags.errorCode()}, selection.limit)
		})
	}
	return cmd
}

// acceptance is the action of taking in what was refused.
func acceptance(vouch bool) action {
	accept := action{kind: refusedRequest, verb: "accept", past: "accepted", caveat: " if they pass the checks now"}
	if vouch {
		accept.caveat = " without proof of who sent them"
	}
	accept.do = func(ctx context.Context, client *Client, id string) (ActionResult, error) {
		taken, err := client.Accept(ctx, id, vouch)
		result := ActionResult{
			ID: id, Courier: taken.Courier, Key: taken.Key, Sequence: taken.Sequence, Duplicate: taken.Duplicate, Conflict: taken.Conflict, KeyID: taken.KeyID,
		}
		if taken.NotMarked != "" {
			result.Warning = "its event is on the queue, but its record could not be marked as taken in: " + taken.NotMarked
		}
		return result, askToVouch(err)
	}
	return accept
}

// askToVouch names the flag for requests that prove nothing.
func askToVouch(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok && p.Code == event.InvalidSignature {
		return fmt.Errorf("%w: correct the courier's settings, or add --vouch if you know who sent it", p)
	}
	return err
}

// openRejections returns what can be taken in of the refused requests that filter
// selects, at most limit of the newest, in the order in which they came. It says
// how many it had to leave out.
func (c *commands) openRejections(ctx context.Context, client *Client, filter event.IngestionFilter, limit int) ([]ActionResult, error) {
	filter.Outcomes, filter.Open, filter.Limit = []event.IntakeOutcome{event.IntakeRefused}, true, MaxPage
	leftOut := int64(0)
	picked, err := collect(client.RejectionPages(ctx, filter), limit, func(r IngestionRow) (ActionResult, bool) {
		if !r.TakenAt.IsZero() {
			return ActionResult{}, false
		}
		if !r.Single() || r.Request.Cut {
			leftOut += r.Count
			return ActionResult{}, false
		}
		return refusedResult(&r.IngestionRecord), true
	})
	if leftOut > 0 {
		c.say("%s left out: not kept, or not with the whole body", refusedRequest.count(int(leftOut)))
	}
	slices.Reverse(picked)
	return picked, err
}
