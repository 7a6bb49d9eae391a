package cli

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) rejections() *cobra.Command {
	return group("rejections", "Look at requests that were refused, and accept them",
		c.rejectionsList(), c.rejectionsShow(), c.rejectionsAccept())
}

func (c *commands) rejectionsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List requests that were refused, newest first",
		Long: "List requests that were refused, and those that were accepted only because their\n" +
			"courier is in observe mode; newest first. Requests beyond the bounds on records are\naggregated, those have no request to show.\n\n" +
			"--outcome ignored lists what a courier's `ignore` took and did not queue: a few\nsamples, and aggregates.",
		Example: "  appliance rejections list --courier demo --open\n  appliance rejections list --code INVALID_SIGNATURE --all-pages --json",
	}
	var flags originFlags
	flags.add(cmd, event.InvalidSignature, RefusalCodes)
	outcome := ""
	wordFlag(cmd, &outcome, "outcome", "only with this outcome", append(ops.Words(ops.NotQueued), "all"))
	open := cmd.Flags().Bool("open", false, "only those that were not accepted since")
	return listCommand(c, cmd, listing[ops.IngestionPage, ops.IngestionRow]{
		things: "refused requests", member: "records",
		head:  []string{"ID", "AT", "OUTCOME", "REQUESTS", "ERROR", "COURIER", "FROM", "ACCEPTED AS", "DETAIL"},
		cells: c.print.rejectionCells, courier: &flags.courier,
		pages: func(ctx context.Context, api *client.Client, p pageFlags) (iter.Seq2[ops.IngestionPage, error], error) {
			outcomes, fault := ops.ParseOutcomes(strings.ToLower(outcome), ops.Rejections, ops.NotQueued)
			if fault != "" {
				return nil, usageError("--outcome %q %s", outcome, fault)
			}
			code, err := flags.errorCode()
			return api.RejectionPages(ctx, ingestion.Filter{
				Courier: flags.courier, Code: code, Outcomes: outcomes, Open: *open, Limit: p.limit, After: p.after,
			}), err
		},
	})
}

func (p *printer) rejectionCells(r ops.IngestionRow) []string {
	detail := terminal.Clip(r.Detail, maxShownMessage)
	if !r.Single() {
		detail = "an aggregate, until " + r.Until.In(p.clock.Zone).Format(time.RFC3339)
	}
	return []string{
		r.ID, p.clock.Format(r.At), string(r.Outcome), strconv.FormatInt(r.Count, 10), string(r.Code), r.Courier, r.Address, r.AcceptedKey, detail,
	}
}

func (c *commands) rejectionsShow() *cobra.Command {
	return showCommand(c, &cobra.Command{
		Use:     "show ID",
		Short:   "Show one refused request whole: why, headers and body, and what to do next",
		Example: "  appliance rejections show 019c9a0e2b00-9f86d081884c7d65",
	}, (*client.Client).Rejection, c.print.rejection)
}

func (p *printer) rejection(r ingestion.Record) error {
	t := terminal.NewTable(p.out)
	t.Row("id", r.ID)
	t.Row("courier", r.Courier)
	t.Row("outcome", string(r.Outcome))
	t.Field("error", codeAndMessage(r.Code, r.Detail))
	t.Field("reason", r.Reason)
	if r.Request != nil {
		t.Row("at", p.clock.Format(r.At))
		t.Row("answered", strconv.Itoa(r.Status))
		t.Field("from", r.Address)
		t.Field("trace", r.TraceID)
		t.Row("body", bodySize(r.Request))
	} else {
		t.Row("requests", fmt.Sprintf("%d, with %s of bodies", r.Count, terminal.Size(r.Bytes)))
		t.Row("first", p.clock.Format(r.At))
		t.Row("last", p.clock.Format(r.Until))
	}
	if !r.AcceptedAt.IsZero() {
		t.Row("accepted", p.clock.Format(r.AcceptedAt)+" as event "+r.AcceptedKey)
		t.Row("verified by", verifiedBy(r.AcceptedBy))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Request != nil {
		if err := p.request(r.Request); err != nil {
			return err
		}
	}
	for _, step := range p.nextSteps(&r) {
		// In one line, whatever its length: it ends with a command to copy.
		_, _ = fmt.Fprintln(p.err, terminal.Escape(step))
	}
	return nil
}

func bodySize(r *ingestion.Request) string {
	if r.Whole() {
		return terminal.Size(int64(r.BodyBytes))
	}
	return fmt.Sprintf("%s, of which %s were kept", terminal.Size(int64(r.BodyBytes)), terminal.Size(int64(len(r.Body))))
}

// request prints a request as it was sent, less what is secret in it.
func (p *printer) request(r *ingestion.Request) error {
	line := r.Method + " " + r.Path
	if r.Query != "" {
		line += "?" + r.Query
	}
	t := terminal.NewTable(p.out)
	t.Gap()
	t.Row(line)
	for _, h := range r.Headers {
		t.Row(h.Name, h.Value)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.out, "\n%s\n", bodyText(r.Body))
	return err
}

// verifiedBy says what verified a request that was accepted.
func verifiedBy(keyID string) string {
	if keyID == ingestion.KeyIDOperator {
		return "no secret: an operator vouched for it"
	}
	return "secret " + keyID
}

// nextSteps says what can be done about a record. It names nothing that a sender
// has chosen, because people paste these lines into a shell.
func (p *printer) nextSteps(r *ingestion.Record) []string {
	switch {
	case !slices.Contains(ops.NotQueued, r.Outcome) || !r.AcceptedAt.IsZero():
		return nil
	case r.Outcome == ingestion.Ignored && r.Request == nil:
		return nil
	case r.Request == nil:
		return []string{"the requests of an aggregate were not kept: have the courier send them again"}
	case r.Outcome == ingestion.Observed:
		return append(p.testStep(r), "it was accepted because the courier is in observe mode; in enforce mode it would be refused")
	case !r.Request.Whole():
		return append(p.testStep(r), "not all of its body was kept: have the courier send it again")
	}
	accept := "once the settings are right (appliance couriers reload), accept it: appliance rejections accept " + r.ID
	if r.Request.Redacted {
		accept = "its credential was not kept, so it can't be verified again; if you know who sent it, accept it: appliance rejections accept --vouch " + r.ID
	}
	return append(p.testStep(r), accept)
}

// testStep says how to find out what is wrong with a request.
func (p *printer) testStep(r *ingestion.Record) []string {
	switch {
	case r.Courier == "":
		return []string{"see which couriers there are and where each posts: appliance couriers list --json"}
	case !p.canTest:
		return nil
	default:
		return []string{"see step by step what is checked: appliance rejections show " + r.ID + " --json | appliance couriers test " + r.Courier + " -"}
	}
}
