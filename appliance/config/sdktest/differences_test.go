package sdktest

import "maps"

// differences says why we refuse what the library accepts, or accept what it refuses, by the
// kind of the mutation: "refuse, header doubled".
type differences map[string]string

// and returns the differences with others.
func (d differences) and(more differences) differences {
	all := maps.Clone(d)
	maps.Copy(all, more)
	return all
}

const (
	unpadded    = "base64 without its padding is the same bytes"
	asWritten   = "the time is signed as it is written; the library writes its number again and signs that"
	bothNames   = "senders by Svix may use its names: ours are both taken, as Svix's libraries do"
	otherFields = "what the header has besides t and v1 does not matter"
	tooMany     = "a list is bounded: no sender has 64 secrets, and a stranger's list must cost little"
)

// ofAll are the differences from every library: what several readers could read in different
// ways is refused.
var ofAll = differences{
	"refuse, header doubled": "the library takes the first; another reader, as a proxy, may take the last",
	"refuse, folded headers": "RFC 9112, section 5.2, has servers refuse them",
}

// ofContent is a difference from the libraries that do not look at the content type.
var ofContent = differences{"refuse, content type of no JSON": "what says that it is something else is refused before it is read"}

// ofUnsigned is a difference where there are headers that no signature covers.
var ofUnsigned = differences{"refuse, space behind a header's name": "RFC 9112, section 5.1, has servers refuse it; net/http takes it for another header"}

var ofWebhooks = ofAll.and(ofContent).and(differences{
	"refuse, values joined":                       "the library leaves out what is behind a second comma",
	"refuse, values joined, another last":         "the library leaves out what is behind a second comma",
	"accept, value cut":                           unpadded,
	"accept, white space inside":                  unpadded,
	"accept, signature as base64 without padding": unpadded,
	"refuse, one signature of more than 64":       tooMany,
	"refuse, time in another form, not signed":    asWritten,
	"accept, time in another form, signed so":     asWritten,
})

var ofStandard = ofWebhooks.and(ofUnsigned).and(differences{
	"accept, headers of the other name alone":                 bothNames,
	"accept, headers of the other name, beside our id":        bothNames,
	"accept, headers of the other name, beside our timestamp": bothNames,
	"accept, headers of the other name, beside our signature": bothNames,
	"accept, headers of the other name, beside an empty one":  bothNames,
})

var ofStripe = ofAll.and(ofContent).and(differences{
	"refuse, a time ahead, signed":                "the library has no bound ahead, so that a request signed ahead of its time could be sent again until then",
	"refuse, time twice":                          "the library takes the last; another reader may take the first",
	"refuse, values joined":                       "the header has the time twice then",
	"accept, values joined":                       otherFields,
	"accept, values joined, another first":        otherFields,
	"accept, values joined, another last":         otherFields,
	"accept, something that is no field":          otherFields,
	"accept, one signature beside something else": otherFields,
	"accept, signature as a comma behind":         otherFields,
	"accept, space at a comma":                    "a space behind a comma is how lists in headers are written",
	"accept, list by something else":              "a space behind a comma is how lists in headers are written",
	"refuse, one signature of more than 64":       tooMany,
	"refuse, time in another form, not signed":    asWritten,
	"accept, time in another form, signed so":     asWritten,
	"refuse, time in another form, signed so":     "the library has no bound ahead, and takes milliseconds for seconds",
})

var ofGitHub = ofAll.and(ofUnsigned).and(differences{
	"accept, another content type":          "JSON is known by what it is; the library takes two types only",
	"refuse, by an algorithm that is named": "GitHub signs by SHA-256; who could choose could choose SHA-1",
})

var ofEasyPost = ofAll.and(ofContent).and(differences{
	"accept, form, signed":                   "a form is read by any courier; the library reads the body as JSON",
	"accept, signature as hex in upper case": "hex in either case is the same bytes",
	"accept, signature as hex in both cases": "hex in either case is the same bytes",
})
