package api

import (
	"context"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// full is a value in which every field is set, so that one which a side of the
// wire, or the document, lacks is found. Texts are the name of their field.
func full[T any]() (v T) {
	fill(reflect.ValueOf(&v).Elem(), "it")
	return v
}

// words are the values of types that are one of several words.
var words = map[reflect.Type]any{
	reflect.TypeFor[advisory.Kind]():       advisory.OSV,
	reflect.TypeFor[advisory.Confidence](): advisory.Certain,
	reflect.TypeFor[manifest.Severity]():   manifest.High,
	reflect.TypeFor[upgrade.FindingKind](): upgrade.OfAdvisory,
	reflect.TypeFor[upgrade.SignRole]():    upgrade.Security,
	reflect.TypeFor[upgrade.ReviewState](): upgrade.ReviewOpen,
	reflect.TypeFor[upgrade.State]():       upgrade.Seen,
	reflect.TypeFor[time.Time]():           noon,
}

func fill(v reflect.Value, name string) {
	if w, ok := words[v.Type()]; ok {
		v.Set(reflect.ValueOf(w))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.ToLower(name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
		if v.Type() == reflect.TypeFor[watch.Duration]() {
			v.SetInt(int64(2 * watch.Day))
		}
	case reflect.Float64:
		v.SetFloat(0.25)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, "key")
		fill(value, "value")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(i), f.Name)
			}
		}
	default:
		panic("cannot fill a " + v.Type().String())
	}
}

func (f *fake) Feeds(_ context.Context, c audit.Caller) ([]upgrade.Feed, error) {
	return []upgrade.Feed{full[upgrade.Feed]()}, f.note(c, "Feeds")
}

func (f *fake) AddFeed(_ context.Context, c audit.Caller, n upgrade.NewFeed) (upgrade.Feed, error) {
	return full[upgrade.Feed](), f.note(c, "AddFeed %+v", n)
}

func quoted(s *string) string {
	if s == nil {
		return "-"
	}
	return strconv.Quote(*s)
}

func (f *fake) SetFeed(_ context.Context, c audit.Caller, name string, ch upgrade.FeedChange) (upgrade.Feed, error) {
	return full[upgrade.Feed](), f.note(c, "SetFeed %s url=%s credential=%s interval=%s stale=%s", name, quoted(ch.URL), quoted(ch.Credential), orNil(ch.Interval), orNil(ch.StaleAfter))
}

func (f *fake) RemoveFeed(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "RemoveFeed %s", name)
}

func (f *fake) ImportFeed(_ context.Context, c audit.Caller, feed, file string, body io.Reader) (upgrade.Imported, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return upgrade.Imported{}, err
	}
	if len(b) > 100 {
		b = b[:100]
	}
	return full[upgrade.Imported](), f.note(c, "ImportFeed %s %s %q", feed, file, b)
}

func (f *fake) FeedNow(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "FeedNow %s", name)
}

func (f *fake) Snapshots(_ context.Context, c audit.Caller, feed string, limit int) ([]advisory.Snapshot, error) {
	return []advisory.Snapshot{full[advisory.Snapshot]()}, f.note(c, "Snapshots %s %d", feed, limit)
}

func (f *fake) MatchImages(_ context.Context, c audit.Caller, images []string) ([]advisory.ImageMatch, upgrade.Inputs, error) {
	return []advisory.ImageMatch{full[advisory.ImageMatch]()}, full[upgrade.Inputs](), f.note(c, "MatchImages %v", images)
}

func (f *fake) Advisories(_ context.Context, c audit.Caller, filter upgrade.AdvisoryFilter) (upgrade.AdvisoryList, error) {
	return full[upgrade.AdvisoryList](), f.note(c, "Advisories %+v", filter)
}

func (f *fake) Advisory(_ context.Context, c audit.Caller, id string) (upgrade.AdvisoryRow, error) {
	return full[upgrade.AdvisoryRow](), f.note(c, "Advisory %s", id)
}

func (f *fake) Assessment(_ context.Context, c audit.Caller, deployment string) (upgrade.Assessment, error) {
	return full[upgrade.Assessment](), f.note(c, "Assessment %s", deployment)
}

func (f *fake) Explain(_ context.Context, c audit.Caller, deployment, finding string) (upgrade.Explanation, error) {
	return full[upgrade.Explanation](), f.note(c, "Explain %s %q", deployment, finding)
}

func (f *fake) Policy(_ context.Context, c audit.Caller) (upgrade.PolicyDocument, error) {
	return full[upgrade.PolicyDocument](), f.note(c, "Policy")
}

func (f *fake) SetPolicy(_ context.Context, c audit.Caller, text string) (upgrade.PolicyDocument, error) {
	return full[upgrade.PolicyDocument](), f.note(c, "SetPolicy %q", text)
}

func (f *fake) Waivers(_ context.Context, c audit.Caller, all bool) ([]upgrade.Waiver, error) {
	return []upgrade.Waiver{full[upgrade.Waiver]()}, f.note(c, "Waivers %v", all)
}

func (f *fake) RequestWaiver(_ context.Context, c audit.Caller, w upgrade.NewWaiver) (upgrade.Waiver, error) {
	return full[upgrade.Waiver](), f.note(c, "RequestWaiver %+v", w)
}

func (f *fake) ApproveWaiver(_ context.Context, c audit.Caller, id int64) (upgrade.Waiver, error) {
	return full[upgrade.Waiver](), f.note(c, "ApproveWaiver %d", id)
}

func (f *fake) EndWaiver(_ context.Context, c audit.Caller, id int64) (upgrade.Waiver, error) {
	return full[upgrade.Waiver](), f.note(c, "EndWaiver %d", id)
}

func (f *fake) MakeReview(_ context.Context, c audit.Caller, deployment, version string) (upgrade.Review, error) {
	return full[upgrade.Review](), f.note(c, "MakeReview %s %q", deployment, version)
}

func (f *fake) Reviews(_ context.Context, c audit.Caller, filter upgrade.ReviewFilter) ([]upgrade.Review, error) {
	return []upgrade.Review{full[upgrade.Review]()}, f.note(c, "Reviews %+v", filter)
}

func (f *fake) Review(_ context.Context, c audit.Caller, digest string) (upgrade.Review, error) {
	return full[upgrade.Review](), f.note(c, "Review %s", digest)
}

func (f *fake) SignReview(_ context.Context, c audit.Caller, digest string, s upgrade.Sign) (upgrade.Review, error) {
	return full[upgrade.Review](), f.note(c, "SignReview %s %+v", digest, s)
}

func (f *fake) Plans(_ context.Context, c audit.Caller) ([]upgrade.Plan, error) {
	return []upgrade.Plan{full[upgrade.Plan](), {Deployment: "prod/data/b", Action: "wait"}}, f.note(c, "Plans")
}

func (f *fake) Plan(_ context.Context, c audit.Caller, deployment string) (upgrade.Plan, error) {
	return full[upgrade.Plan](), f.note(c, "Plan %s", deployment)
}

func (f *fake) AcceptPlan(_ context.Context, c audit.Caller, deployment, digest string) (upgrade.Upgrade, error) {
	return full[upgrade.Upgrade](), f.note(c, "AcceptPlan %s %s", deployment, digest)
}

func (f *fake) Agenda(_ context.Context, c audit.Caller, owner string) (string, error) {
	return "# Agenda\n", f.note(c, "Agenda %q", owner)
}

func (f *fake) PullRequest(_ context.Context, c audit.Caller, id int64) (string, error) {
	return "## Move web\n", f.note(c, "PullRequest %d", id)
}

func (f *fake) Calendar(_ context.Context, c audit.Caller, owner string) ([]byte, error) {
	return []byte("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"), f.note(c, "Calendar %q", owner)
}

func (f *fake) Windows(_ context.Context, c audit.Caller) ([]calendar.Window, error) {
	return []calendar.Window{full[calendar.Window]()}, f.note(c, "Windows")
}

func (f *fake) PutWindow(_ context.Context, c audit.Caller, w calendar.Window) error {
	return f.note(c, "PutWindow %+v", w)
}

func (f *fake) RemoveWindow(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "RemoveWindow %s", name)
}

func (f *fake) Status(_ context.Context, c audit.Caller, owner string) (upgrade.Status, error) {
	return full[upgrade.Status](), f.note(c, "Status %q", owner)
}

func (f *fake) Upgrades(_ context.Context, c audit.Caller, filter upgrade.UpgradeFilter) ([]upgrade.Upgrade, error) {
	return []upgrade.Upgrade{full[upgrade.Upgrade]()}, f.note(c, "Upgrades %+v", filter)
}

func (f *fake) Upgrade(_ context.Context, c audit.Caller, id int64) (upgrade.Upgrade, error) {
	return full[upgrade.Upgrade](), f.note(c, "Upgrade %d", id)
}

func (f *fake) DismissUpgrade(_ context.Context, c audit.Caller, id int64, reason string, until time.Time) (upgrade.Upgrade, error) {
	return full[upgrade.Upgrade](), f.note(c, "DismissUpgrade %d %q %s", id, reason, until.Format(time.RFC3339))
}

func (f *fake) Practice(_ context.Context, c audit.Caller, since time.Time) (upgrade.Practice, error) {
	return full[upgrade.Practice](), f.note(c, "Practice %s", since.Format(time.RFC3339))
}

func (f *fake) Trackers(_ context.Context, c audit.Caller) ([]upgrade.Tracker, error) {
	return []upgrade.Tracker{full[upgrade.Tracker]()}, f.note(c, "Trackers")
}

func (f *fake) AddTracker(_ context.Context, c audit.Caller, t upgrade.Tracker) (upgrade.Tracker, error) {
	return full[upgrade.Tracker](), f.note(c, "AddTracker %s %s %s %s %s %v %v %s", t.Name, t.Kind, t.URL, t.API, t.Credential, t.Owners, t.Labels, t.Severity)
}

func (f *fake) RemoveTracker(_ context.Context, c audit.Caller, name string) error {
	return f.note(c, "RemoveTracker %s", name)
}

func (f *fake) Tickets(_ context.Context, c audit.Caller, tracker string, limit int) ([]upgrade.Ticket, error) {
	return []upgrade.Ticket{full[upgrade.Ticket]()}, f.note(c, "Tickets %q %d", tracker, limit)
}
