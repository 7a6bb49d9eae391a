package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
)

// page shows a report: one file with everything in it, drawn by its own script
// from the report's JSON.
//
//go:embed report.html
var page string

// writeHTML writes the report as a page.
func (r *Report) writeHTML(out io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return fmt.Errorf("read the report's page: %w", err)
	}
	return t.Execute(out, r)
}

// saveHTML writes the page to a file.
func (r *Report) saveHTML(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := r.writeHTML(f); err != nil {
		_ = f.Close() // the first error says more
		return fmt.Errorf("write the report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
