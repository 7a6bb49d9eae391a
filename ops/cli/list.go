package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// maxShownMessage is how many characters of a message a listing shows.
const maxShownMessage = 60

// listing says how things are listed page by page.
type listing[P ops.Page[R], R any] struct {
	things string   // what they are called, such as "dead letters"
	member string   // of the JSON document that holds them
	head   []string // of the table
	cells  func(R) []string
	// pages returns the pages that the command's own flags select.
	pages func(context.Context, *client.Client, pageFlags) (iter.Seq2[P, error], error)
}

// pageFlags are the flags of every listing.
type pageFlags struct {
	limit    int
	after    string
	allPages bool
	asJSON   bool
}

func (f *pageFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.limit, "limit", 0, fmt.Sprintf("how many on a page, at most %d (default %d)", ops.MaxPage, ops.DefaultPage))
	cmd.Flags().StringVar(&f.after, "after", "", "continue behind the one with this id")
	cmd.Flags().BoolVar(&f.allPages, "all-pages", false, "list every page, not the first one only")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print as JSON")
	cmd.PreRunE = f.check
}

func (f *pageFlags) check(*cobra.Command, []string) error {
	if f.limit > ops.MaxPage {
		return usageError("--limit %d is over %d: use --all-pages", f.limit, ops.MaxPage)
	}
	return notNegative(f.limit)
}

// originFlags select by courier and error code.
type originFlags struct{ courier, code string }

func (f *originFlags) add(cmd *cobra.Command, example event.Code) {
	cmd.Flags().StringVar(&f.courier, "courier", "", "only this courier's")
	cmd.Flags().StringVar(&f.code, "code", "", "only with this error code, such as "+string(example))
}

func (f *originFlags) errorCode() event.Code { return event.Code(strings.ToUpper(f.code)) }

func notNegative(limit int) error {
	if limit < 0 {
		return usageError("--limit %d is negative", limit)
	}
	return nil
}

// wordFlag adds a flag that takes one of the words.
func wordFlag(cmd *cobra.Command, to *string, name, usage string, words []string) {
	cmd.Flags().StringVar(to, name, "", usage+": "+strings.Join(words, ", "))
	// The only error is that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// listCommand completes a command that lists.
func listCommand[P ops.Page[R], R any](c *commands, cmd *cobra.Command, l listing[P, R]) *cobra.Command {
	var flags pageFlags
	flags.add(cmd)
	cmd.Args = cobra.NoArgs
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, _ []string) error {
		all, err := l.pages(cmd.Context(), api, flags)
		if err != nil {
			return err
		}
		var printer pagePrinter[R] = &pageTable[R]{c: c, t: terminal.NewTable(c.Out), head: l.head, cells: l.cells, things: l.things}
		if flags.asJSON {
			printer = &pageJSON[R]{out: c.Out, member: l.member}
		}
		return printPages(all, printer, flags.allPages)
	})
}

// printPages prints the first page, or every one.
func printPages[P ops.Page[R], R any](all iter.Seq2[P, error], printer pagePrinter[R], every bool) error {
	for page, err := range all {
		if err != nil {
			return err
		}
		rows, next := page.Rows()
		if err := printer.page(rows); err != nil {
			return err
		}
		if !every || next == "" {
			return printer.end(next)
		}
	}
	return nil
}

// pagePrinter prints pages as they come.
type pagePrinter[R any] interface {
	page(rows []R) error
	end(next string) error // next is the id to continue behind, empty at the end of all
}

// pageTable prints pages as one table; columns are aligned page by page, so that
// the first rows don't wait for the last.
type pageTable[R any] struct {
	c      *commands
	t      *terminal.Table
	head   []string
	cells  func(R) []string
	things string
	rows   int
}

func (p *pageTable[R]) page(rows []R) error {
	if p.rows == 0 && len(rows) > 0 {
		p.t.Row(p.head...)
	}
	for _, row := range rows {
		p.t.Row(p.cells(row)...)
	}
	p.rows += len(rows)
	return p.t.Flush()
}

func (p *pageTable[R]) end(next string) error {
	if p.rows == 0 {
		_, err := fmt.Fprintln(p.c.Out, "no "+p.things)
		return err
	}
	if next != "" {
		p.c.print.say("there are more: add --after %s, or --all-pages", next)
	}
	return nil
}

// pageJSON prints pages as one document of the form of a page.
type pageJSON[R any] struct {
	out    io.Writer
	member string
	rows   int
}

func (p *pageJSON[R]) page(rows []R) error {
	for _, row := range rows {
		before := ",\n"
		if p.rows == 0 {
			before = "{\n  \"" + p.member + "\": [\n"
		}
		doc, err := json.MarshalIndent(row, "    ", "  ")
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		if _, err := io.WriteString(p.out, before+"    "+terminal.EscapeJSON(string(doc))); err != nil {
			return err
		}
		p.rows++
	}
	return nil
}

func (p *pageJSON[R]) end(next string) error {
	if p.rows == 0 {
		return terminal.PrintJSON(p.out, map[string][]R{p.member: {}})
	}
	tail := "\n  ]\n}\n"
	if next != "" {
		quoted, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("print as JSON: %w", err)
		}
		tail = "\n  ],\n  \"next\": " + terminal.EscapeJSON(string(quoted)) + "\n}\n"
	}
	_, err := io.WriteString(p.out, tail)
	return err
}
