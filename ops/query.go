package ops

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// Bounds of a page of a listing.
const (
	DefaultPage = 100 // rows, when nothing is asked for
	MaxPage     = 500 // rows, whatever is asked for
)

// Page is one page of a listing of rows R.
type Page[R any] interface {
	// Rows returns the page's rows, and what to pass as after for the next page,
	// empty on the last.
	Rows() (rows []R, next string)
}

// ParseDeadLetterQuery reads the query of a listing of dead letters. What is wrong
// with it is a [Problem].
func ParseDeadLetterQuery(query url.Values) (event.DeadLetterFilter, error) {
	filter := event.DeadLetterFilter{Limit: DefaultPage}
	err := parseQuery(query, map[string]setter{
		"courier": text(&filter.Courier), "code": text(&filter.Code), "key": text(&filter.Key),
		"status": oneOf(&filter.Status, event.ReviewStatuses),
		"after":  text(&filter.After), "limit": rowLimit(&filter.Limit),
	})
	return filter, err
}

// DeadLetterQuery is the inverse of [ParseDeadLetterQuery].
func DeadLetterQuery(filter event.DeadLetterFilter) url.Values {
	return formatQuery(filter.Limit, map[string]string{
		"courier": filter.Courier, "code": string(filter.Code), "key": filter.Key,
		"status": string(filter.Status), "after": filter.After,
	})
}

// ParseIngestionQuery reads the query of a listing of records with these outcomes,
// unless it asks for others of more.
// What is wrong with it is a [Problem].
func ParseIngestionQuery(query url.Values, outcomes, more []ingestion.Outcome) (ingestion.Filter, error) {
	filter := ingestion.Filter{Outcomes: slices.Clone(outcomes), Limit: DefaultPage}
	err := parseQuery(query, map[string]setter{
		"courier": text(&filter.Courier), "code": text(&filter.Code),
		"outcome": func(value string) (fault string) {
			filter.Outcomes, fault = ParseOutcomes(value, outcomes, more)
			return fault
		},
		"open": yesOrNo(&filter.Open), "after": text(&filter.After), "limit": rowLimit(&filter.Limit),
	})
	return filter, err
}

// IngestionQuery is the inverse of [ParseIngestionQuery].
func IngestionQuery(filter ingestion.Filter) url.Values {
	open := ""
	if filter.Open {
		open = "true"
	}
	return formatQuery(filter.Limit, map[string]string{
		"courier": filter.Courier, "code": string(filter.Code), "outcome": strings.Join(Words(filter.Outcomes), ","), "open": open, "after": filter.After,
	})
}

// setter sets a filter to a value, or says what the value is not.
type setter func(value string) (fault string)

// parseQuery reads a listing's query. What it does not know it refuses, because
// a filter that is silently ignored selects too much.
func parseQuery(query url.Values, filters map[string]setter) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := filters[name]
		if !known {
			return Refuse(event.BadRequest, "%q is no filter: %s are", name, strings.Join(slices.Sorted(maps.Keys(filters)), ", "))
		}
		values := query[name]
		if len(values) > 1 {
			return Refuse(event.BadRequest, "%s is given %d times", name, len(values))
		}
		if fault := set(values[0]); fault != "" {
			return Refuse(event.BadRequest, "%s %q %s", name, values[0], fault)
		}
	}
	return nil
}

// formatQuery is the inverse of parseQuery; values that are empty are left out.
func formatQuery(limit int, filters map[string]string) url.Values {
	q := url.Values{}
	for name, value := range filters {
		if value != "" {
			q.Set(name, value)
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

func text[S ~string](to *S) setter {
	return func(value string) string {
		*to = S(value)
		return ""
	}
}

// oneOf wants one of the words, or nothing for any of them.
func oneOf[S ~string](to *S, words []S) setter {
	return func(value string) string {
		*to = S(value)
		if value != "" && !slices.Contains(words, *to) {
			return fmt.Sprintf("is none of %v", words)
		}
		return ""
	}
}

// ParseOutcomes reads outcomes of among with commas between them. Nothing means those
// in usual, and the word all all of them. fault says what the value is not.
func ParseOutcomes(value string, usual, among []ingestion.Outcome) (outcomes []ingestion.Outcome, fault string) {
	switch value {
	case "":
		return slices.Clone(usual), ""
	case "all":
		return slices.Clone(among), ""
	}
	for word := range strings.SplitSeq(value, ",") {
		outcome := ingestion.Outcome(word)
		if !slices.Contains(among, outcome) {
			return nil, fmt.Sprintf("is none of %v, nor several of them with commas, nor all", among)
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, ""
}

func yesOrNo(to *bool) setter {
	return func(value string) string {
		*to = value == "true"
		if !*to && value != "false" && value != "" {
			return "is neither true nor false"
		}
		return ""
	}
}

// rowLimit wants how many rows a page may have.
func rowLimit(to *int) setter {
	return func(value string) string {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > MaxPage {
			return fmt.Sprintf("is no number from 1 to %d", MaxPage)
		}
		*to = n
		return ""
	}
}

// Words returns the texts of a closed list's values.
func Words[S ~string](values []S) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}
