package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// maxListed is how many things an action lists one by one for people.
const maxListed = 20

// action is something done to things of one kind, one by one.
type action struct {
	kind
	verb, past string // "replay", "replayed"
	caveat     string // under which condition, or at which risk; begins with a space, may be empty
	// do does it and returns what there is to say about the thing.
	do func(ctx context.Context, api *client.Client, id string) (actionResult, error)
}

// kind is what actions are done to.
type kind struct {
	one, many string // "dead letter", "dead letters"
	// lookUp returns what there is to say about one, and changes nothing. An error
	// says why nothing can be done to it.
	lookUp func(ctx context.Context, api *client.Client, id string) (actionResult, error)
	head   []string // of the table of a dry run
	cells  func(actionResult) []string
	detail func(actionResult) string // printed after the word past; may return nothing
}

// actionReport is what an action came to, as --json prints it.
type actionReport struct {
	Action  string          `json:"action"`
	DryRun  bool            `json:"dryRun"` // nothing was done, done says what would be
	Done    []actionResult  `json:"done"`
	Failed  []actionFailure `json:"failed"`
	Untried int             `json:"untried"` // left when it had to stop early

	unreachable bool // that is why
}

// actionResult is a dead letter or a refused request that an action was done to.
type actionResult struct {
	ID        string             `json:"id"`
	Courier   string             `json:"courier,omitempty"`
	Key       string             `json:"idempotencyKey,omitempty"`
	Code      event.Code         `json:"errorCode,omitempty"`
	Detail    string             `json:"detail,omitempty"` // why a request was refused
	Status    event.ReviewStatus `json:"reviewStatus,omitempty"`
	Nonce     string             `json:"nonce,omitempty"`     // of the replay
	Sequence  uint64             `json:"sequence,omitempty"`  // where its event is on the queue
	Duplicate bool               `json:"duplicate,omitempty"` // the queue had it already
	Conflict  bool               `json:"conflict,omitempty"`  // with another body, which counts
	KeyID     string             `json:"keyId,omitempty"`     // of the secret that verified it
	Warning   string             `json:"warning,omitempty"`   // it is done, but this is not as it should be

	known bool // it was looked at already
}

// actionFailure is one that an action failed on.
type actionFailure struct {
	ID    string     `json:"id"`
	Code  event.Code `json:"errorCode"`
	Error string     `json:"error"`
}

// actFlags are the flags of an action.
type actFlags struct{ yes, dryRun, asJSON bool }

func (f *actFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.yes, "yes", false, "don't ask")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print as JSON")
}

// selectionNames are the flags that select things, for commands where they make
// sense together only.
var selectionNames = []string{"courier", "code", "status", "key", "limit"}

// selectionFlags add --all, and --limit for it, to a command that takes ids too.
type selectionFlags struct {
	all   bool
	limit int
}

func (f *selectionFlags) add(cmd *cobra.Command, things string) {
	cmd.Flags().BoolVar(&f.all, "all", false, "every "+things+" that the filters select")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "with --all: at most this many, 0 for no limit")
	cmd.PreRunE = f.check
}

// check wants ids or --all, and filters with --all only.
func (f *selectionFlags) check(cmd *cobra.Command, ids []string) error {
	switch {
	case f.all && len(ids) > 0:
		return usageError("give ids or --all, not both")
	case f.all:
		return notNegative(f.limit)
	case len(ids) == 0:
		return usageError("say which: ids, or --all with filters")
	}
	for _, name := range selectionNames {
		if cmd.Flags().Changed(name) {
			return usageError("--%s selects nothing beside ids: use it with --all", name)
		}
	}
	return nil
}

// named returns the things that ids name, each once.
func named(ids []string) []actionResult {
	var things []actionResult
	for i, id := range ids {
		if !slices.Contains(ids[:i], id) {
			things = append(things, actionResult{ID: id})
		}
	}
	return things
}

// collect returns what pick takes of every page, limit being the most of all of
// them, 0 for no limit.
func collect[P ops.Page[R], R any](all iter.Seq2[P, error], limit int, pick func(R) (actionResult, bool)) (picked []actionResult, err error) {
	for page, err := range all {
		if err != nil {
			return nil, err
		}
		rows, _ := page.Rows()
		for _, row := range rows {
			if one, ok := pick(row); ok {
				picked = append(picked, one)
			}
			if limit > 0 && len(picked) == limit {
				return picked, nil
			}
		}
	}
	return picked, nil
}

// run is one use of an action.
type run struct {
	action
	flags actFlags
	api   *client.Client
	c     *commands
}

// act does an action to the things that ids name, or else to all that are selected,
// after asking, and reports.
func (c *commands) act(cmd *cobra.Command, api *client.Client, act action, flags actFlags, ids []string,
	all func(context.Context) ([]actionResult, error),
) error {
	things := named(ids)
	if len(ids) == 0 {
		var err error
		if things, err = all(cmd.Context()); err != nil {
			return err
		}
	}
	if !flags.dryRun && len(things) > 0 {
		question := fmt.Sprintf("%s %s%s?", strings.ToUpper(act.verb[:1])+act.verb[1:], act.count(len(things)), act.caveat)
		if err := c.confirm(question, flags.yes); err != nil {
			return err
		}
	}
	r := &run{action: act, flags: flags, api: api, c: c}
	report := r.perform(cmd.Context(), things)
	if err := r.print(report); err != nil {
		return err
	}
	if left := len(report.Failed) + report.Untried; left > 0 {
		return coded{fmt.Errorf("%d of %s could not be %s", left, act.count(len(things)), act.past), report.exitCode()}
	}
	return nil
}

// exitCode returns the code of a report with failures: 5 when no appliance answered, 4 when
// all of them are names or ids that nothing has, else 1.
func (r actionReport) exitCode() int {
	missing := func(f actionFailure) bool { return f.Code == event.NotFound }
	switch {
	case r.unreachable:
		return ExitUnreachable
	case len(r.Done) == 0 && !slices.ContainsFunc(r.Failed, func(f actionFailure) bool { return !missing(f) }):
		return ExitNotFound
	default:
		return 1
	}
}

// perform does the action to one thing after the other; in a dry run it looks up the
// things that are known by their ids only. A single failure does not stop it; an
// appliance that no longer answers does, and so does ctx.
func (r *run) perform(ctx context.Context, things []actionResult) actionReport {
	report := actionReport{Action: r.verb, DryRun: r.flags.dryRun, Done: []actionResult{}, Failed: []actionFailure{}}
	do, past := r.do, r.past
	var known []actionResult
	if r.flags.dryRun {
		do, past = r.lookUp, "looked up"
		known = slices.DeleteFunc(slices.Clone(things), func(thing actionResult) bool { return !thing.known })
		things = slices.DeleteFunc(slices.Clone(things), func(thing actionResult) bool { return thing.known })
	}
	shown := r.c.Err
	if r.flags.asJSON { // the report has all of it, and a failure is a document there
		shown = io.Discard
	}
	progress := terminal.NewProgress(terminal.ProgressConfig{Out: shown, Terminal: r.c.ErrTerminal, Verb: past, Total: len(things), Now: r.c.Now})
	defer progress.Clear()
	for i, thing := range things {
		result, err := do(ctx, r.api, thing.ID)
		progress.Step(err == nil)
		if err == nil {
			if result.Warning != "" {
				progress.Print(terminal.Escape(thing.ID + ": " + result.Warning))
			}
			report.Done = append(report.Done, merge(thing, result))
			continue
		}
		progress.Print(terminal.Escape(thing.ID + ": " + err.Error()))
		report.Failed = append(report.Failed, failureOf(thing.ID, err))
		if _, gone := errors.AsType[*client.UnreachableError](err); gone {
			report.Untried, report.unreachable = len(things)-i-1, true
			break
		}
	}
	report.Done = append(report.Done, known...)
	return report
}

// merge adds what was known of a thing before to what an action returned.
func merge(before, after actionResult) actionResult {
	after.Courier, after.Key = cmp.Or(after.Courier, before.Courier), cmp.Or(after.Key, before.Key)
	after.Code, after.Detail = cmp.Or(after.Code, before.Code), cmp.Or(after.Detail, before.Detail)
	return after
}

func failureOf(id string, err error) actionFailure {
	f := actionFailure{ID: id, Code: event.CodeOf(err), Error: err.Error()}
	if p, ok := errors.AsType[*ops.Problem](err); ok {
		f.Code = p.Code
	}
	return f
}

func (r *run) print(report actionReport) error {
	if r.flags.asJSON {
		return terminal.PrintJSON(r.c.Out, report)
	}
	if report.DryRun {
		return r.printPreview(report)
	}
	var b strings.Builder
	for _, done := range report.Done[:min(len(report.Done), maxListed)] {
		b.WriteString(terminal.Escape(strings.TrimSpace(done.ID+" "+r.past+" "+r.detail(done))) + "\n")
	}
	if more := len(report.Done) - maxListed; more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	fmt.Fprintf(&b, "%s %s%s\n", r.count(len(report.Done)), r.past, shortfall(report))
	_, err := io.WriteString(r.c.Out, b.String())
	return err
}

func (r *run) printPreview(report actionReport) error {
	if len(report.Done) > 0 {
		t := terminal.NewTable(r.c.Out)
		t.Row(r.head...)
		for _, d := range report.Done {
			t.Row(r.cells(d)...)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return tell(r.c.Out, fmt.Sprintf("%s would be %s%s%s; nothing was done", r.count(len(report.Done)), r.past, r.caveat, shortfall(report)))
}

func shortfall(r actionReport) string {
	s := ""
	if n := len(r.Failed); n > 0 {
		s += fmt.Sprintf(", %d failed", n)
	}
	if r.Untried > 0 {
		s += fmt.Sprintf(", %d not tried", r.Untried)
	}
	return s
}

func (k kind) count(n int) string {
	if n == 1 {
		return "1 " + k.one
	}
	return fmt.Sprintf("%d %s", n, k.many)
}
