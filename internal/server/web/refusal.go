package web

import (
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// refusal is a form that was not accepted, shown again with what was typed.
type refusal struct {
	form   string // sign-reviewer, sign-security, accept, dismiss, review, waiver and the like; "" for none
	status int
	err    *problem.Error
	typed  url.Values
}

// refused takes an error that the one who sent the form can do something about;
// others are pages of their own.
func refused(form string, err error, typed url.Values) (refusal, bool) {
	status, p := server.Status(err)
	switch p.Kind {
	case problem.Invalid, problem.Policy, problem.Conflict, problem.TooLarge:
		return refusal{form, status, p, typed}, true
	}
	return refusal{}, false
}

// failedForm is why a form was not accepted, as its page shows it.
type failedForm struct {
	Form  string
	Head  string // as it was said: it stands after “Nothing was changed:”
	Facts []fact
	Try   string
}

func (ref *refusal) view() *failedForm {
	if ref.err == nil {
		return nil
	}
	v := &failedForm{Form: ref.form, Head: shown(ref.err.Message, maxSentence), Try: shown(ref.err.Try, maxSentence)}
	if first, _, _ := strings.Cut(v.Try, " "); first == "chartkeep" || strings.Contains(" "+v.Try, " --") {
		v.Try = "" // advice for command lines; the form stands below
	}
	for _, f := range ref.err.Facts[:min(len(ref.err.Facts), maxEvidence)] {
		v.Facts = append(v.Facts, fact{Label: shown(f.Label, 64), Value: shown(f.Value, maxSentence)})
	}
	return v
}

// typed is what somebody typed into a form, to be typed on.
func typed(s string) string { return plainText([]byte(shorten(s, 16*maxSentence))) }

func (ref *refusal) statusOr(ok int) int {
	if ref.err == nil {
		return ok
	}
	return ref.status
}
