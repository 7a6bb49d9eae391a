package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// verdict is what becomes of a captured request, and why.
type verdict struct {
	Courier   string                `json:"courier"`
	At        time.Time             `json:"at"` // the time by which it is judged
	Accepted  bool                  `json:"accepted"`
	Handshake string                `json:"handshake,omitempty"` // how it is answered when it is one, and no event
	Refusals  []string              `json:"refusals,omitempty"`  // by the intake, before it verifies
	Signature signature.Explanation `json:"signature"`
	Ignored   string                `json:"ignored,omitempty"` // why it says nothing of a shipment
	Event     *eventView            `json:"event,omitempty"`   // as it was read; nil with faults, or when it is ignored
	Faults    event.Faults          `json:"faults,omitempty"`
	Notes     []string              `json:"notes,omitempty"`
}

// eventView is an event as it was read from a payload.
type eventView struct {
	EventID     string           `json:"eventId"`
	Key         string           `json:"idempotencyKey"`
	Type        string           `json:"eventType"`
	OccurredAt  time.Time        `json:"occurredAt"`
	Source      string           `json:"source,omitempty"`
	ShipmentID  string           `json:"shipmentId"`
	OrderID     string           `json:"orderId,omitempty"`
	Status      string           `json:"status,omitempty"`
	Substatus   string           `json:"substatus,omitempty"`
	State       shipment.State   `json:"state,omitempty"`
	Checkpoints []checkpointView `json:"checkpoints,omitempty"`
}

type checkpointView struct {
	At        time.Time      `json:"occurredAt"`
	State     shipment.State `json:"state,omitempty"`
	Status    string         `json:"status,omitempty"`
	Substatus string         `json:"substatus,omitempty"`
}

func viewOf(e event.Event) *eventView {
	v := &eventView{
		EventID: e.ID, Key: e.Key, Type: e.Type, OccurredAt: e.OccurredAt, Source: e.Source,
		ShipmentID: e.ShipmentID, OrderID: e.OrderID, Status: e.Status, Substatus: e.Substatus, State: e.State,
	}
	if v.State == "" && v.Status != "" {
		v.State = shipment.ParseState(v.Status)
	}
	for _, m := range e.Checkpoints {
		v.Checkpoints = append(v.Checkpoints, checkpointView(m))
	}
	return v
}

// explainCommand is `couriers test`: it needs no running appliance.
func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test COURIER FILE|-",
		Short: "Explain what becomes of a captured request, step by step",
		Long: "Verify a captured request against a courier's settings and read its payload, and\n" +
			"print each step: which bytes are signed, which secret was tried, what differs, and\n" +
			"what the payload says. Nothing is sent, and no appliance has to run.\n\n" +
			"FILE is the request as it went over the wire (a request line, headers, an empty\n" +
			"line, the body), or what `appliance rejections show ID --json` printed. It is\n" +
			"judged by the time at which it came, or by --at. Limits on addresses and on rates are\n" +
			"not checked.",
		Example: "  appliance rejections show ID --json | appliance couriers test acme -\n" +
			"  appliance couriers test acme request.txt --at 2026-02-26T12:00:00Z",
		Args: cobra.ExactArgs(2),
	}
	asJSON := cmd.Flags().Bool("json", false, "print as JSON")
	at := cmd.Flags().String("at", "", "judge by this time, in Unix seconds or RFC 3339 (default: when it came, or now)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := judge(cmd, args[0], args[1], *at)
		if err != nil {
			return err
		}
		if *asJSON {
			err = terminal.PrintJSON(cmd.OutOrStdout(), v)
		} else {
			err = printVerdict(cmd.OutOrStdout(), v)
		}
		if err == nil && !v.Accepted {
			err = errors.New("the request would be refused")
		}
		return err
	}
	return cmd
}

// judge does with a captured request what the intake would.
func judge(cmd *cobra.Command, courier, file, at string) (v verdict, err error) {
	l, err := loadParts(cmd, "couriers", "ingest", "data_dir", "jetstream.stamp_keys")
	if err != nil {
		return v, err
	}
	cfg := l.WithDemo()
	if _, ok := cfg.Couriers[courier]; !ok {
		return v, notFound{fmt.Errorf("there is no courier %q%s: there are %s", courier, config.DidYouMean(courier, cfg.CourierNames()), strings.Join(cfg.CourierNames(), ", "))}
	}
	r, when, err := openCapture(file, cmd.InOrStdin())
	if err != nil {
		return v, err
	}
	if when, err = judgedAt(at, when); err != nil {
		return v, err
	}
	scheme, unverifiable := schemeOf(cmd.Context(), cfg, courier)
	decoder, unreadable := cfg.Decoder(courier)
	if err := errors.Join(unverifiable, unreadable); err != nil {
		return v, err
	}
	settings, err := cfg.IntakeCourier(courier, scheme)
	if err != nil {
		return v, err
	}
	captured := &ingest.Captured{Request: r}
	preview, err := settings.Preview(captured, cfg.Ingest.MaxBodyBytes)
	if err != nil {
		return v, err
	}
	if preview.Handshake != "" {
		return verdict{Courier: courier, At: when.UTC(), Accepted: true, Handshake: "answered and not queued, " + preview.Handshake}, nil
	}
	v = verdict{Courier: courier, At: when.UTC(), Refusals: preview.Refusals, Signature: scheme.Explain(captured, when), Notes: notes(r)}
	v.read(decoder, payload.Input{Body: preview.Body, Headers: countingHeaders{scheme, captured}, Received: when})
	v.decide(settings.Observe)
	return v, nil
}

// schemeOf compiles a courier's scheme, with its public keys loaded if it has any.
func schemeOf(ctx context.Context, cfg config.Config, courier string) (*signature.Scheme, error) {
	var source *jwks.Source
	scheme, err := cfg.Scheme(courier, func(address string) (_ *jwks.Source, err error) {
		source, err = jwks.At(address)
		return source, err
	})
	if err == nil && source != nil {
		err = source.Refresh(ctx)
	}
	return scheme, err
}

// read reads the payload as the intake does, and then as the worker does.
func (v *verdict) read(decoder *payload.Decoder, in payload.Input) {
	var e event.Event
	v.Faults = decoder.Decode(in, &e, nil)
	if len(v.Faults) > 0 {
		return
	}
	if e.Ignored != "" {
		v.Ignored = fmt.Sprintf("answered and not queued, because by %s; its type is %q", e.Ignored, e.Type)
		return
	}
	v.Event = viewOf(e)
	for _, f := range e.LeftOut {
		v.Notes = append(v.Notes, "left out, and the rest counts: "+f.Path+" "+f.Message)
	}
	queued := &event.Envelope{EventID: e.ID, Key: e.Key, Body: in.Body, ReceivedAt: in.Received}
	for _, f := range decoder.DecodeQueued(queued, &e, nil) {
		v.Notes = append(v.Notes, "it becomes a dead letter: "+f.Path+" "+f.Message)
	}
}

// decide says whether the request is accepted.
func (v *verdict) decide(observed bool) {
	good := (v.Event != nil || v.Ignored != "") && v.Signature.Accepted
	v.Accepted = len(v.Refusals) == 0 && (good || observed)
	if observed {
		v.Notes = append(v.Notes, "the courier is in observe mode: its requests are accepted without a valid signature")
	}
	if v.Accepted && !good {
		v.Notes = append(v.Notes, "in enforce mode it would be refused")
	}
}

func openCapture(file string, stdin io.Reader) (*ingestion.Request, time.Time, error) {
	if file == "-" {
		return readCapture(stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read the captured request: %w", err)
	}
	defer func() { _ = f.Close() }()
	return readCapture(f)
}

// judgedAt returns the time that was asked for, or else when the request came, or
// else now.
func judgedAt(asked string, came time.Time) (time.Time, error) {
	seconds, err := strconv.ParseInt(asked, 10, 64)
	switch {
	case asked == "" && came.IsZero():
		return time.Now(), nil
	case asked == "":
		return came, nil
	case err == nil:
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, asked)
	if err != nil {
		return at, usage{fmt.Errorf("--at %q is neither Unix seconds nor RFC 3339", asked)}
	}
	return at, nil
}

// notes returns what else matters to a verdict on a request.
func notes(r *ingestion.Request) (all []string) {
	if !r.Whole() {
		all = append(all, fmt.Sprintf("only %d of the body's %d bytes are here, so a signature of it can't match", len(r.Body), r.BodyBytes))
	}
	if r.Redacted {
		all = append(all, "the credential was taken out when the request was recorded, so it can't be verified again")
	}
	return all
}

func printVerdict(out io.Writer, v verdict) error {
	table := terminal.NewTable(out)
	table.Empty = ""
	table.Row(" ", "judged at", v.At.Format(time.RFC3339))
	if v.Handshake != "" {
		table.Row(checkMark(true), "handshake", v.Handshake)
		return table.Flush()
	}
	table.Row(" ", "covers", v.Signature.Binding.String())
	for _, text := range v.Refusals {
		table.Row(checkMark(false), "request", text)
	}
	for _, s := range v.Signature.Steps {
		table.Row(checkMark(s.OK), s.Name, s.Detail)
	}
	verdict := "verified with key " + v.Signature.KeyID
	if !v.Signature.Accepted {
		verdict = v.Signature.Reason + ": " + v.Signature.Detail
	}
	table.Row(checkMark(v.Signature.Accepted), "signature", verdict)
	for _, h := range v.Signature.Hints {
		table.Row("!", "hint", h)
	}
	for _, f := range v.Faults {
		table.Row(checkMark(false), "payload", f.Path+" "+f.Message)
	}
	if v.Ignored != "" {
		table.Row(checkMark(true), "ignored", v.Ignored)
	}
	if e := v.Event; e != nil {
		table.Row(checkMark(true), "event", fmt.Sprintf("%s, key %s, %s", e.EventID, e.Key, e.Type))
		table.Row(" ", "shipment", e.ShipmentID)
		table.Row(" ", "state", fmt.Sprintf("%s (%q) at %s", orNone(string(e.State)), e.Status, e.OccurredAt.Format(time.RFC3339Nano)))
		for _, m := range e.Checkpoints {
			table.Row(" ", "checkpoint", fmt.Sprintf("%s (%q) at %s", orNone(string(m.State)), m.Status, m.At.Format(time.RFC3339Nano)))
		}
	}
	for _, n := range v.Notes {
		table.Row("!", "note", n)
	}
	return table.Flush()
}

func checkMark(ok bool) string {
	if ok {
		return "+"
	}
	return "x"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// countingHeaders are a request's headers as the intake has a mapping read them.
type countingHeaders struct {
	scheme  *signature.Scheme
	request signature.Request
}

func (h countingHeaders) Header(name string) (value []byte, count int) {
	return h.scheme.Header(h.request, name)
}
