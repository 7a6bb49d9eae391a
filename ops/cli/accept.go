package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// refusedRequest is the kind of thing that rejections accept acts on.
var refusedRequest = kind{
	one: "refused request", many: "refused requests",
	lookUp: func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
		record, err := api.Rejection(ctx, id)
		if err != nil {
			return actionResult{}, err
		}
		if refusal := ops.CheckAcceptable(&record); refusal != nil {
			return actionResult{}, refusal
		}
		return refusedResult(&record), nil
	},
	head: []string{"ID", "ERROR", "COURIER", "DETAIL"},
	cells: func(r actionResult) []string {
		return []string{r.ID, string(r.Code), r.Courier, terminal.Clip(r.Detail, maxShownMessage)}
	},
	detail: func(r actionResult) string {
		detail := fmt.Sprintf("as event %s, sequence %d", r.Key, r.Sequence)
		if r.Conflict {
			return fmt.Sprintf("as event %s, which was on the queue already with another body: that one counts", r.Key)
		}
		if r.Duplicate {
			detail += ", which was on the queue already"
		}
		return detail
	},
}

func refusedResult(r *ingestion.Record) actionResult {
	return actionResult{ID: r.ID, Courier: r.Courier, Code: r.Code, Detail: r.Detail, known: true}
}

func (c *commands) rejectionsAccept() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept ID... | --all",
		Short: "Accept requests that were refused",
		Long: "Accept requests that were refused, as if nothing had been wrong with them.\n\n" +
			"Each is verified again by the couriers as they are now: correct what was wrong with\n" +
			"the settings first, and reload them. --vouch accepts requests without verifying them,\n" +
			"because you know who sent them.\n\n" +
			"--all accepts every request that the filters select, was kept whole and was not\n" +
			"accepted before, the oldest first.",
		Example: "  appliance rejections accept 019c9a0e2b00-9f86d081884c7d65\n" +
			"  appliance rejections accept --all --courier demo --code INVALID_SIGNATURE --dry-run",
	}
	var act actFlags
	var flags originFlags
	var selection selectionFlags
	act.add(cmd)
	flags.add(cmd, event.InvalidSignature, RefusalCodes)
	selection.add(cmd, "request")
	vouch := cmd.Flags().Bool("vouch", false, "accept them without verifying them, because you know who sent them; with --all only of one --courier")
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, ids []string) error {
		if *vouch && selection.all && flags.courier == "" {
			return usageError("--vouch with --all would accept requests of any sender: add --courier")
		}
		code, err := flags.errorCode()
		if err != nil {
			return err
		}
		return c.act(cmd, api, acceptance(*vouch), act, ids, func(ctx context.Context) ([]actionResult, error) {
			return openRejections(ctx, api, ingestion.Filter{Courier: flags.courier, Code: code}, selection.limit, c.print.say)
		})
	})
}

// acceptance is the action of accepting what was refused.
func acceptance(vouch bool) action {
	accept := action{kind: refusedRequest, verb: "accept", past: "accepted", caveat: " if they pass the checks now"}
	if vouch {
		accept.caveat = " without verifying them"
	}
	accept.do = func(ctx context.Context, api *client.Client, id string) (actionResult, error) {
		accepted, err := api.Accept(ctx, id, vouch)
		result := actionResult{
			ID: id, Courier: accepted.Courier, Key: accepted.Key, Sequence: accepted.Sequence, Duplicate: accepted.Duplicate, Conflict: accepted.Conflict, KeyID: accepted.KeyID,
		}
		if accepted.NotMarked != "" {
			result.Warning = "its event is on the queue, but its record could not be marked as accepted: " + accepted.NotMarked
		}
		return result, withHint(err, event.InvalidSignature, "correct the courier's settings, or add --vouch if you know who sent it")
	}
	return accept
}

// openRejections returns what can be accepted of the refused requests that filter
// selects, at most limit of the newest, in the order in which they came. It says
// how many it had to omit.
func openRejections(ctx context.Context, api *client.Client, filter ingestion.Filter, limit int, say func(string, ...any)) ([]actionResult, error) {
	filter.Outcomes, filter.Open, filter.Limit = []ingestion.Outcome{ingestion.Refused}, true, ops.MaxPage
	leftOut := int64(0)
	picked, err := collect(api.RejectionPages(ctx, filter), limit, func(r ops.IngestionRow) (actionResult, bool) {
		if !r.AcceptedAt.IsZero() {
			return actionResult{}, false
		}
		if !r.Single() || r.Request.Cut {
			leftOut += r.Count
			return actionResult{}, false
		}
		return refusedResult(&r.Record), true
	})
	if leftOut > 0 {
		say("%s left out: not kept, or not with the whole body", refusedRequest.count(int(leftOut)))
	}
	slices.Reverse(picked)
	return picked, err
}
