package ops

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
)

func (c *commands) rejections() *cobra.Command {
	return group("rejections", "Look at requests that were refused, and take them in",
		c.rejectionsList(), c.rejectionsShow(), c.rejectionsAccept())
}

func (c *commands) rejectionsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List requests that were refused, newest first",
		Long: "List requests that were refused, and those that were accepted only because their\n" +
			"courier is in observe mode; newest first. Requests beyond the bounds on records are\nsummed up, those have no request to show.",
		Example: "  appliance rejections list --courier demo --open\n  appliance rejections list --code INVALID_SIGNATURE --all-pages --json",
	}
	var flags originFlags
	flags.add(cmd, event.InvalidSignature)
	outcome := ""
	wordFlag(cmd, &outcome, "outcome", "only with this outcome", append(words(rejections), "all"))
	open := cmd.Flags().Bool("open", false, "only those that were not taken in")
	return listCommand(c, cmd, listing[IngestionPage, IngestionRow]{
		things: "refused requests", member: "records",
		head:  []string{"ID", "AT", "OUTCOME", "REQUESTS", "ERROR", "COURIER", "FROM", "TAKEN IN AS", "DETAIL"},
		cells: c.rejectionCells,
		pages: func(ctx context.Context, client *Client, p pageFlags) (iter.Seq2[IngestionPage, error], error) {
			filter := event.IngestionFilter{Courier: flags.courier, Code: flags.errorCode(), Open: *open, Limit: p.limit, After: p.after}
			if fault := someOf(&filter.Outcomes, rejections)(strings.ToLower(outcome)); fault != "" {
				return nil, usageError("--outcome %q %s", outcome, fault)
			}
			return client.RejectionPages(ctx, filter), nil
		},
	})
}

func (c *commands) rejectionCells(r IngestionRow) []string {
	detail := clip(r.Detail, maxShownMessage)
	if !r.Single() {
		detail = "a sum, until " + r.Until.In(c.Zone).Format(time.RFC3339)
	}
	return []string{
		r.ID, c.clock.when(r.At), string(r.Outcome), strconv.FormatInt(r.Count, 10), string(r.Code), r.Courier, r.Address, r.TakenKey, detail,
	}
}

func (c *commands) rejectionsShow() *cobra.Command {
	return showCommand(c, &cobra.Command{
		Use:   "show ID",
		Short: "Show one refused request whole: why, headers and body, and what to do next",
	}, (*Client).Rejection, c.printRejection)
}

func (c *commands) printRejection(r event.IngestionRecord) error {
	t := newTable(c.Out)
	t.row("id", r.ID)
	t.row("courier", r.Courier)
	t.row("outcome", string(r.Outcome))
	t.field("error", codeAndMessage(r.Code, r.Detail))
	t.field("reason", r.Reason)
	if r.Request != nil {
		t.row("at", c.clock.when(r.At))
		t.row("answered", strconv.Itoa(r.Status))
		t.field("from", r.Address)
		t.field("trace", r.TraceID)
		t.row("body", bodySize(r.Request))
	} else {
		t.row("requests", fmt.Sprintf("%d, with %s of bodies", r.Count, size(r.Bytes)))
		t.row("first", c.clock.when(r.At))
		t.row("last", c.clock.when(r.Until))
	}
	if !r.TakenAt.IsZero() {
		t.row("taken in", c.clock.when(r.TakenAt)+" as event "+r.TakenKey)
		t.row("proved by", provedBy(r.TakenBy))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if r.Request != nil {
		if err := c.printRequest(r.Request); err != nil {
			return err
		}
	}
	for _, step := range c.nextSteps(&r) {
		c.say("%s", safe(step))
	}
	return nil
}

func bodySize(r *event.CapturedRequest) string {
	if r.Whole() {
		return size(int64(r.BodyBytes))
	}
	return fmt.Sprintf("%s, of which %s were kept", size(int64(r.BodyBytes)), size(int64(len(r.Body))))
}

// printRequest shows a request as it was sent, less what is secret in it.
func (c *commands) printRequest(r *event.CapturedRequest) error {
	line := r.Method + " " + r.Path
	if r.Query != "" {
		line += "?" + r.Query
	}
	t := newTable(c.Out)
	t.gap()
	t.row(line)
	for _, h := range r.Headers {
		t.row(h.Name, h.Value)
	}
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Out, "\n%s\n", showBody(r.Body))
	return err
}

// provedBy says who has proved a request that was taken in.
func provedBy(keyID string) string {
	if keyID == event.KeyIDOperator {
		return "nobody but the operator who vouched for it"
	}
	return "secret " + keyID
}

// nextSteps says what can be done about a record. It names nothing that a sender
// has chosen, because people paste what stands here into a shell.
func (c *commands) nextSteps(r *event.IngestionRecord) []string {
	switch {
	case !slices.Contains(rejections, r.Outcome) || !r.TakenAt.IsZero():
		return nil
	case r.Request == nil:
		return []string{"the requests of a sum were not kept: have the courier send them again"}
	case r.Outcome == event.IntakeObserved:
		return append(c.testStep(r), "it was accepted because the courier is in observe mode; in enforce mode it would be refused")
	case !r.Request.Whole():
		return append(c.testStep(r), "not all of its body was kept: have the courier send it again")
	}
	accept := "once the settings are right (appliance couriers reload), take it in: appliance rejections accept " + r.ID
	if r.Request.Redacted {
		accept = "its credential was not kept, so it proves nothing any more; if you know who sent it, take it in: appliance rejections accept --vouch " + r.ID
	}
	return append(c.testStep(r), accept)
}

// testStep says how to find out what is wrong with a request.
func (c *commands) testStep(r *event.IngestionRecord) []string {
	switch {
	case r.Courier == "":
		return []string{"see which couriers there are and where each posts: appliance couriers list --json"}
	case len(c.Couriers) == 0:
		return nil
	default:
		return []string{"see step by step what is checked: appliance rejections show " + r.ID + " --json | appliance couriers test " + r.Courier + " -"}
	}
}
