package ops

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event/ingestion"
)

// FuzzListingQueries holds the parsers of both listings against their inverses:
// what is understood is asked for again in the same words.
func FuzzListingQueries(f *testing.F) {
	for _, query := range []string{
		"", "courier=a%2Fb&code=X&limit=7&after=1", "status=closed&key=%00", "outcome=refused,observed&open=true", "outcome=all&open=", "outcome=,", "limit=0&limit=1", "a;b=%zz", "outcome=accepted&limit=501",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		letters, err := ParseDeadLetterQuery(query)
		again, errAgain := ParseDeadLetterQuery(DeadLetterQuery(letters))
		if err == nil && (errAgain != nil || again != letters || letters.Limit < 1 || letters.Limit > MaxPage) {
			t.Fatalf("%q is %+v and then %+v, %v", raw, letters, again, errAgain)
		}
		for _, outcomes := range [][]ingestion.Outcome{Rejections, ingestion.Outcomes} {
			records, err := ParseIngestionQuery(query, outcomes, outcomes)
			if err != nil {
				continue
			}
			again, err := ParseIngestionQuery(IngestionQuery(records), outcomes, outcomes)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(records) || records.Limit < 1 || records.Limit > MaxPage || len(records.Outcomes) == 0 {
				t.Fatalf("%q is %+v and then %+v, %v", raw, records, again, err)
			}
		}
	})
}

// TestOutcomesThatAreNotQueued: a listing of rejections has the ignored requests only when it
// is asked for them.
func TestOutcomesThatAreNotQueued(t *testing.T) {
	for value, want := range map[string]string{
		"": "refused observed", "all": "refused observed ignored", "ignored": "ignored", "ignored,refused": "ignored refused", "accepted": "",
	} {
		outcomes, fault := ParseOutcomes(value, Rejections, NotQueued)
		if got := strings.Join(Words(outcomes), " "); got != want || (fault == "") != (want != "") {
			t.Errorf("%q means %q, with the fault %q, want %q", value, got, fault, want)
		}
	}
}
