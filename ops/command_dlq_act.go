package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

// maxListed is how many letters an action lists one by one for people.
const maxListed = 20

// action is something done to dead letters, one by one.
type action struct {
	verb, past string // "replay", "replayed"
	// do does it and returns what there is to say about the letter.
	do func(ctx context.Context, client *Client, id string) (ActionResult, error)
}

// ActionReport is what an action on dead letters came to, as --json prints it.
type ActionReport struct {
	Action  string          `json:"action"`
	DryRun  bool            `json:"dryRun"` // nothing was done, done says what would be
	Done    []ActionResult  `json:"done"`
	Failed  []ActionFailure `json:"failed"`
	Untried int             `json:"untried"` // left when it had to stop early
}

// ActionResult is a letter that an action was done to.
type ActionResult struct {
	ID       string             `json:"id"`
	Courier  string             `json:"courier,omitempty"`
	Key      string             `json:"idempotencyKey,omitempty"`
	Code     event.Code         `json:"errorCode,omitempty"`
	Status   event.ReviewStatus `json:"reviewStatus,omitempty"`
	Nonce    string             `json:"nonce,omitempty"`    // of the replay
	Sequence uint64             `json:"sequence,omitempty"` // of the replay
}

// ActionFailure is a letter that an action failed on.
type ActionFailure struct {
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
	act.add(cmd)
	flags.add(cmd)
	cmd.Flags().IntVar(&flags.limit, "limit", 0, "with --all: at most this many, 0 for no limit")
	all := cmd.Flags().Bool("all", false, "every letter that the filters select")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := checkSelection(cmd, ids, *all); err != nil {
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
		replay := action{verb: "replay", past: "replayed", do: replayOne}
		if !*all {
			return c.act(cmd.Context(), client, replay, act, named(ids))
		}
		letters, err := selectLetters(cmd.Context(), client, filter)
		if err != nil {
			return err
		}
		return c.act(cmd.Context(), client, replay, act, letters)
	}
	return cmd
}

func replayOne(ctx context.Context, client *Client, id string) (ActionResult, error) {
	link, err := client.Replay(ctx, id)
	return ActionResult{ID: id, Nonce: link.Nonce, Sequence: link.Sequence}, err
}

// checkSelection wants ids or --all, and filters with --all only.
func checkSelection(cmd *cobra.Command, ids []string, all bool) error {
	switch {
	case all && len(ids) > 0:
		return usageError("give ids or --all, not both")
	case all:
		return nil
	case len(ids) == 0:
		return usageError("say which: ids, or --all with filters")
	}
	for _, name := range filterNames {
		if cmd.Flags().Changed(name) {
			return usageError("--%s selects nothing beside ids: use it with --all", name)
		}
	}
	return nil
}

func (c *commands) dlqClose() *cobra.Command {
	cmd := &cobra.Command{Use: "close ID...", Short: "Close dead letters that need nothing more"}
	flags := &actFlags{}
	flags.add(cmd)
	return c.reviewCommand(cmd, flags, event.ReviewClosed, action{verb: "close", past: "closed"})
}

// dlqReview only marks, so it does not ask.
func (c *commands) dlqReview() *cobra.Command {
	cmd := &cobra.Command{Use: "review ID...", Short: "Mark dead letters as looked at"}
	flags := &actFlags{yes: true}
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print as JSON")
	return c.reviewCommand(cmd, flags, event.ReviewReviewed, action{verb: "review", past: "reviewed"})
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

// named returns the letters that ids name, each once.
func named(ids []string) []ActionResult {
	var letters []ActionResult
	for i, id := range ids {
		if !slices.Contains(ids[:i], id) {
			letters = append(letters, ActionResult{ID: id})
		}
	}
	return letters
}

// selectLetters returns every letter that filter selects, the limit being of all
// of them. Without a status it takes the open ones.
func selectLetters(ctx context.Context, client *Client, filter event.DeadLetterFilter) ([]ActionResult, error) {
	limit := filter.Limit
	filter.Limit = MaxPage
	var letters []ActionResult
	for page, err := range client.DeadLetterPages(ctx, filter) {
		if err != nil {
			return nil, err
		}
		for _, d := range page.DeadLetters {
			open := d.ReviewStatus == event.ReviewPending || d.ReviewStatus == event.ReviewReviewed
			if filter.Status == "" && !open {
				continue
			}
			letters = append(letters, resultOf(d.DeadLetter))
			if len(letters) == limit {
				return letters, nil
			}
		}
	}
	return letters, nil
}

func resultOf(d event.DeadLetter) ActionResult {
	return ActionResult{ID: d.ID, Courier: d.Courier, Key: d.Key, Code: d.Code, Status: d.ReviewStatus}
}

// act does an action to letters, after asking, and reports.
func (c *commands) act(ctx context.Context, client *Client, act action, flags actFlags, letters []ActionResult) error {
	if !flags.dryRun && len(letters) > 0 {
		question := fmt.Sprintf("%s %s?", strings.ToUpper(act.verb[:1])+act.verb[1:], count(len(letters)))
		if err := c.confirm(question, flags.yes); err != nil {
			return err
		}
	}
	var report ActionReport
	if flags.dryRun {
		report = c.preview(ctx, client, act, letters)
	} else {
		report = c.perform(ctx, client, act, letters)
	}
	if err := c.report(report, act, flags.asJSON); err != nil {
		return err
	}
	if left := len(report.Failed) + report.Untried; left > 0 {
		return fmt.Errorf("%d of %s could not be %s", left, count(len(letters)), act.past)
	}
	return nil
}

// preview looks up the letters that are known by their ids only.
func (c *commands) preview(ctx context.Context, client *Client, act action, letters []ActionResult) ActionReport {
	lookUp := act
	lookUp.past = "looked up"
	lookUp.do = func(ctx context.Context, client *Client, id string) (ActionResult, error) {
		letter, err := client.DeadLetter(ctx, id)
		return resultOf(letter), err
	}
	var unknown, known []ActionResult
	for _, letter := range letters {
		if letter.Key == "" {
			unknown = append(unknown, letter)
		} else {
			known = append(known, letter)
		}
	}
	report := c.perform(ctx, client, lookUp, unknown)
	report.DryRun = true
	report.Done = append(report.Done, known...)
	return report
}

// perform does the action to one letter after the other. A single failure does
// not stop it; an appliance that no longer answers does, and so does ctx.
func (c *commands) perform(ctx context.Context, client *Client, act action, letters []ActionResult) ActionReport {
	report := ActionReport{Action: act.verb, Done: []ActionResult{}, Failed: []ActionFailure{}}
	progress := NewProgress(ProgressConfig{Out: c.Err, Terminal: c.ErrTerminal, Verb: act.past, Total: len(letters), Now: c.Now})
	defer progress.Clear()
	for i, letter := range letters {
		result, err := act.do(ctx, client, letter.ID)
		progress.Step(err == nil)
		if err == nil {
			report.Done = append(report.Done, merge(letter, result))
			continue
		}
		progress.Print(safe(letter.ID + ": " + err.Error()))
		report.Failed = append(report.Failed, failureOf(letter.ID, err))
		if _, gone := errors.AsType[*unreachableError](err); gone {
			report.Untried = len(letters) - i - 1
			break
		}
	}
	return report
}

// merge adds what was known of a letter before to what an action returned.
func merge(before, after ActionResult) ActionResult {
	if after.Key == "" {
		after.Courier, after.Key, after.Code = before.Courier, before.Key, before.Code
	}
	return after
}

func failureOf(id string, err error) ActionFailure {
	f := ActionFailure{ID: id, Code: event.CodeOf(err), Error: err.Error()}
	if p, ok := errors.AsType[*Problem](err); ok {
		f.Code = p.Code
	}
	return f
}

func (c *commands) report(r ActionReport, act action, asJSON bool) error {
	if asJSON {
		return printJSON(c.Out, r)
	}
	if r.DryRun {
		return c.reportPreview(r, act)
	}
	var b strings.Builder
	for _, done := range r.Done[:min(len(r.Done), maxListed)] {
		b.WriteString(safe(done.ID) + " " + act.past)
		if done.Sequence > 0 {
			fmt.Fprintf(&b, " as sequence %d", done.Sequence)
		}
		b.WriteByte('\n')
	}
	if more := len(r.Done) - maxListed; more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	fmt.Fprintf(&b, "%s %s%s\n", count(len(r.Done)), act.past, shortfall(r))
	_, err := io.WriteString(c.Out, b.String())
	return err
}

func (c *commands) reportPreview(r ActionReport, act action) error {
	if len(r.Done) > 0 {
		t := newTable(c.Out)
		t.row("ID", "STATUS", "ERROR", "COURIER", "KEY")
		for _, d := range r.Done {
			t.row(d.ID, string(d.Status), string(d.Code), d.Courier, d.Key)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Out, "%s would be %s%s; nothing was done\n", count(len(r.Done)), act.past, shortfall(r))
	return err
}

func shortfall(r ActionReport) string {
	s := ""
	if n := len(r.Failed); n > 0 {
		s += fmt.Sprintf(", %d failed", n)
	}
	if r.Untried > 0 {
		s += fmt.Sprintf(", %d not tried", r.Untried)
	}
	return s
}

func count(n int) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}
