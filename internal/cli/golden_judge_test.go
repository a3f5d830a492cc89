package cli

import (
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/deployment"
)

// judgeResults has each kind of result of the judgement.
func judgeResults() []result {
	const key = "production/data/airflow"
	later, before := noon.Add(74*time.Hour), noon.AddDate(0, 0, -12)
	epss := 0.0421
	snapshot := client.Snapshot{ID: 7, Feed: "bitnami", Kind: "osv", Digest: some, Records: 7444, Faults: 2, Dated: before, Taken: noon, Blob: more}
	inputs := client.Inputs{Snapshots: []client.Snapshot{snapshot}, Policy: client.PolicyRef{Name: "chartkeep-default", Version: "1", Digest: more}, Old: []string{"epss: read 3 d ago"}}
	ruling := client.Ruling{
		Tier: "out-of-cycle", Start: before, StartWhy: "published 2026-02-18; no fix was seen yet", Deadline: later, SetBy: "bod-26-04", Derived: true, Doubts: []string{"impact is derived"},
		Rules: []client.RulingRule{
			{ID: "bod-26-04", Title: "CISA BOD 26-04", Table: "bod-26-04 1.0.0", Row: 5, Rows: 16, Fired: true, Result: "14 d", Days: 14, Inputs: []client.RulingInput{
				{Name: "exploited", Value: "no", Source: "not in CISA KEV of 2026-02-28", Snapshot: some},
				{Name: "impact", Value: "total", Source: "CVSS of CVE-2026-1\x1b[2J", Derived: true},
				{Name: "exposure", Source: "nobody said", As: "open"}}},
			{ID: "waiver", Title: "Waivers", Result: "there is none", Days: -1, Inputs: []client.RulingInput{}},
			{ID: "earliest", Title: "The earliest of these", Fired: true, Result: "2026-03-05", Days: 14, Deadline: later, Inputs: []client.RulingInput{}},
		},
	}
	finding := client.Finding{
		Key: "CVE-2026-1 in Bitnami/redis", Kind: "advisory", Severity: "high", Title: "A use after free in the parser | of Lua\nscripts", Advisory: "BIT-redis-2026-1", Aliases: []string{"CVE-2026-1"}, Score: 8.8,
		Exploited: true, EPSS: &epss, Images: []string{"docker.io/bitnami/redis:6.2.14-debian-12-r17"}, Component: "Bitnami/redis", Version: "6.2.14", Confidence: "certain", Fixed: []string{"6.2.16", "7.2.6"}, Doubt: "the tag may mean another version", Since: before, Decision: ruling,
	}
	late := finding
	late.Key, late.Advisory, late.Severity, late.Exploited, late.Decision.Deadline = "CVE-2026-2 in Bitnami/redis", "", "unknown", false, before
	posture := client.Finding{Key: "rights-wildcard in ClusterRole/airflow", Kind: "posture", Severity: "medium", Title: "names every resource", Rule: "rights-wildcard", Object: "ClusterRole/airflow", Decision: client.Ruling{Tier: "defer"}}
	unknown := client.UnknownImage{Image: "registry.example.test/team/tool:latest", Why: "the map has no entry for it"}
	signoff := client.Signoff{Role: "reviewer", By: "usr-1", Name: "ann", Time: noon, Accepted: true, Text: "read and understood", Answers: map[string]string{"rights-widened": "needed"}, Digest: some, LogIndex: 8123}
	slot := &client.Slot{Window: "nights", Start: noon.Add(14 * time.Hour), End: noon.Add(17 * time.Hour)}
	effort := client.Effort{Class: "M", Points: 5, Parts: []client.EffortPart{{Points: 5, Why: "rights grow", Approver: "security", Finding: client.ManifestFinding{Rule: "rights-widened", Severity: "high", Object: "ClusterRole/airflow", Message: "may list Secrets"}}}, Approvers: []string{"security"}}
	review := client.Review{
		ID: 4, Digest: some, Substance: more, Deployment: key, Chart: "airflow", From: client.ReviewSide{Version: "8.8.0", Archive: some, Upstream: "airflow-helm", Images: []string{}}, To: client.ReviewSide{Version: "8.9.0", Project: "mirror", FirstSeen: before, Images: []string{}},
		Made: noon, Inputs: inputs, Closed: []client.Finding{finding}, Introduced: []client.Finding{}, Remaining: []client.Finding{late, posture}, Unknown: []client.UnknownImage{unknown},
		Compared: client.Comparison{
			Findings: []client.ManifestFinding{{Rule: "rights-widened", Severity: "high", Object: "ClusterRole/airflow", Message: "may list Secrets"}, {Rule: "object-added", Severity: "info", Object: "ConfigMap/x", Message: "is new"}},
			Fit:      client.ValuesFit{Set: 3, Vanished: []string{"airflow.legacy"}, Default: []string{"web.port"}}, Effort: effort, Undo: client.Undo{Verdict: "possible", Reasons: []client.UndoObstacle{}},
		},
		Notes: []client.ReviewNotes{{Version: "8.9.0", Source: "changelog in the archive", Digest: some, Hints: []client.NoteHint{{Rule: "operator-action", Line: 7, Text: "You have to migrate the database"}}}}, Deadline: later, SetBy: finding.Key,
		Verdict: client.ReviewVerdict{Advice: "apply-with-care", Text: "It closes what is due first, and asks for more rights", Reasons: []string{"1 advisory is closed"}}, Doubts: []string{"1 image is unknown: not known to be clean"},
		Checklist: []client.ChecklistItem{{ID: "rights-widened", Text: "Does it need to list Secrets?", Finding: "rights-widened", Required: true, Role: "security"}, {ID: "values", Text: "Is airflow.legacy still meant?", Required: true, Role: "reviewer"}, {ID: "notes", Text: "Were the notes read?", Role: "reviewer"}},
		Roles:     []string{"reviewer", "security"}, State: "open", Signoffs: []client.Signoff{signoff},
	}
	plan := client.Plan{
		Deployment: key, Chart: "airflow", From: "8.8.0", Digest: some, Made: noon, Inputs: inputs, Action: "upgrade", Text: "8.9.0 closes what is due first",
		Candidates: []client.Candidate{{ReviewSide: client.ReviewSide{Version: "8.9.0"}, Review: some, Reviewed: "open", Closed: 1, Remaining: 2, Unknown: 1, Effort: effort, Meets: true}, {ReviewSide: client.ReviewSide{Version: "9.0.0"}, Why: "its archive could not be had: the server answered 404"}},
		Remedies:   []client.Remedy{{Kind: "override-image", Text: "run redis 6.2.16", For: []string{late.Key}, Image: "redis:6.2.14", Target: "redis:6.2.16", Values: "redis:\n  image:\n    tag: 6.2.16\n", Verified: "the same chain finds nothing open on it that is known"}},
		Open:       3, Deadline: later, SetBy: finding.Key, Due: later, Slot: slot, Tests: "upgrade", Approvals: []string{"reviewer", "security"}, Doubts: []string{"1 image is unknown: not known to be clean"},
	}
	plan.Chosen, plan.Newest = &plan.Candidates[0], &plan.Candidates[1]
	upgrade := client.Upgrade{
		ID: 12, Deployment: key, Chart: "airflow", From: "8.8.0", To: "8.9.0", Archive: some, State: "reviewed", Since: before, WaitsFor: "a slot: usr-2 has to accept the plan", Owner: "data", Deadline: later, Due: later,
		Security: true, Review: some, Plan: more, Ticket: "https://github.com/example/ops/issues/7", Slot: slot, Steps: []client.UpgradeStep{{Time: before, State: "seen", By: "chartkeep", Text: "8.9.0 closes what is due"}},
	}
	waiver := client.Waiver{ID: 3, Finding: "CVE-2026-1", Deployments: "staging/*", Component: "Bitnami/redis", Reason: "not reachable | there", RequestedBy: "usr-1", Requested: before, ApprovedBy: "usr-2", Approved: noon, Expires: later}
	asked := waiver
	asked.ApprovedBy, asked.Approved = "", time.Time{}
	ended := waiver
	ended.Ended = noon
	feed := client.Feed{Name: "bitnami", Kind: "osv", URL: "https://feeds.example.test/vulndb.tar.gz", Interval: "1d", Created: before, CreatedBy: "usr-1", Health: client.FeedHealth{LastTry: noon, LastSuccess: noon, NextTry: later, Faults: []string{"data/x.json is no JSON"}}, Current: &snapshot}
	broken := client.Feed{Name: "epss", Kind: "epss", URL: "https://feeds.example.test/epss.csv.gz", Interval: "1d", Health: client.FeedHealth{LastTry: noon, Failures: 3, Error: "it answered 503"}}
	byHand := client.Feed{Name: "own", Kind: "vex"}
	tracker := client.Tracker{Name: "ops", Kind: "github", URL: "https://github.com/example/ops", API: "https://git.example.test/api", Credential: "github-ops", Owners: []string{"data"}, Severity: "high", Labels: []string{"security"}, Created: before}
	match := matchedImage{ImageMatch: client.ImageMatch{Image: "redis:6.2.14-debian-12-r17", Component: "Bitnami/redis", Version: "6.2.14", Confidence: "certain", How: "the map has docker.io/library/redis; -debian-12-r17 was cut off", Open: []string{"BIT-redis-2026-1", "BIT-redis-2026-2"}}, Severities: map[string]int{"high": 1, "unknown": 1}, Lifted: 1}
	used := advisoriesUsed{Snapshots: []snapshotUsed{{Feed: "osv", Kind: "osv", Digest: some, Records: 7444, Faults: 1, Dated: before, Files: []string{"feeds/osv/a.json", "feeds/osv/b.json"}}, {Feed: "epss", Kind: "epss", Digest: more, Records: 2, Files: []string{"feeds/epss.csv"}}},
		Faults: []string{"feeds/osv/b.json:3 has no id"}, LeftOut: []string{"feeds/README.md"}, Old: []string{"osv: dated 12 days ago"}}
	byKey := &risks{byKey: map[string]*risk{
		key:                     {Exposure: "open", Open: map[string]int{"critical": 1, "unknown": 2}, Unknown: []client.UnknownImage{unknown}, Due: later, SetBy: finding.Key},
		"staging/data/airflow":  {Exposure: "controlled", Open: map[string]int{}, Unknown: []client.UnknownImage{}},
		"clusters/web.yaml#web": {Exposure: "unknown", Open: map[string]int{}, Unknown: []client.UnknownImage{}, NotJudged: "its images are not known"},
	}, findings: []deployment.Finding{{Rule: "advisory-open", Severity: "critical", Object: key, Message: "BIT-redis-2026-1 in Bitnami/redis 6.2.14: a use after free"}}, used: used}
	outdated := outdatedResult{Findings: []deployment.Finding{}, Problems: []string{}, now: noon, Deployments: []outdatedRow{
		{OutdatedRow: client.OutdatedRow{Key: key, Chart: "airflow", Version: "8.8.0", Newest: "8.9.0", State: "outdated", Why: "1 minor version behind"}},
		{OutdatedRow: client.OutdatedRow{Key: "staging/data/airflow", Chart: "airflow", Version: "8.9.0", Newest: "8.9.0", State: "current", Why: "it is the newest"}},
		{OutdatedRow: client.OutdatedRow{Key: "clusters/web.yaml#web", Chart: "web", Constraint: "~1", State: "unchecked", Why: "its repository is not known"}},
		{OutdatedRow: client.OutdatedRow{Key: "lost", Chart: "web", State: "unchecked", Why: "its repository is not known"}},
	}}
	outdated.take(byKey)
	return []result{
		matchResult{Images: []matchedImage{match, {ImageMatch: client.ImageMatch{Image: unknown.Image, Confidence: "unknown", Unknown: true, Why: unknown.Why, Open: []string{}}, Severities: map[string]int{}}}, Unknown: 1, Open: 2, advisoriesUsed: used},
		advisoryList{noon, []client.Advisory{{Finding: finding, Deployments: []string{key, "b", "c", "d"}, Environments: []string{"production"}, Due: later, FixedBy: []string{"airflow 8.9.0"}}, {Finding: posture, Deployments: []string{key}, Environments: []string{"production"}}}, 5,
			[]client.UnknownImageRow{{UnknownImage: unknown, Deployments: []string{key}}}, []string{"staging/x"}, []client.EnvironmentAdvisories{{Environment: "production", Deployments: 2, Exposure: "open", Open: map[string]int{"high": 1}, Late: map[string]int{}, Due: map[string]time.Time{"high": later}, Images: 3, Unknown: 1}}, inputs},
		advisoryResult{client.Advisory{Finding: finding, Deployments: []string{key}, Environments: []string{"production"}, Due: later}, noon},
		feedImported{client.FeedImport{Feed: "bitnami", Snapshot: snapshot, Added: 12, Removed: 3, Faults: []client.FeedFault{{File: "a.json", Record: "BIT-1", Line: 7, Reason: "has a range that cannot be read"}}}},
		feedResult{feed, []client.Snapshot{snapshot}}, feedList{[]client.Feed{feed, broken, byHand}, noon},
		done{form: "advisory-feed-removed/v1", Name: "own", Change: "is removed"}, done{form: "advisory-feed-read/v1", Name: "bitnami", Change: "is read now"},
		reviewResult{review, noon}, reviewList{[]client.ReviewRow{{ID: 4, Digest: some, Deployment: key, Chart: "airflow", From: "8.8.0", To: "8.9.0", Archive: more, Made: noon, Closed: 1, Unknown: 1, Verdict: review.Verdict, Doubts: []string{}, Roles: review.Roles, State: "open", Signoffs: []client.Signoff{signoff}}}, true},
		planResult{plan, noon}, planList{[]client.PlanRow{{Deployment: key, Chart: "airflow", From: "8.8.0", To: "8.9.0", Newest: "9.0.0", Digest: some, Made: noon, Action: "upgrade", Text: "8.9.0 closes what is due first", Open: 3, Deadline: later, Due: later, Slot: slot, Doubts: []string{}}, {Deployment: "b", Chart: "web", From: "1.0.0", Action: "not-judged", Text: "its images are not known", Emergency: "two approvers have to agree", Doubts: []string{}}}, noon},
		textResult{"agenda/v1", "# Agenda\n\n- one\n", true}, textResult{"calendar/v1", "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", false}, textResult{"pull-request/v1", "**airflow**\n", true},
		done{form: "calendar-written/v1", Name: "upgrades.ics", Change: "is written"},
		upgradeResult{upgrade, noon}, upgradeList{[]client.Upgrade{upgrade}, noon},
		statusResult{noon, []client.StatusRow{
			{Deployment: key, Environment: "production", Owner: "data", Chart: "airflow", Version: "8.8.0", To: "8.9.0", State: "reviewed", Since: before, WaitsFor: upgrade.WaitsFor, Due: before, Late: true, Open: 3, Unknown: 1, Upgrade: 12},
			{Deployment: "staging/x", Chart: "web", Version: "1.0.0", State: "not-judged", WaitsFor: "its images are not known"},
			{Deployment: "staging/y", Chart: "web", Version: "1.0.0", State: "wait"}}},
		practiceResult{client.Practice{Since: before, Until: noon, Environments: []client.PracticeRow{{Environment: "production", Closed: 5, OnTime: 3, NoDeadline: 1, OpenLate: 1, Exposure: client.PracticeTime{Count: 5, Median: 26 * time.Hour, P90: 240 * time.Hour, Max: 300 * time.Hour}}, {Environment: "staging"}},
			Weeks: []client.PracticeWeek{{Start: before, Open: 60, Late: 2, Closed: 1, OnTime: 1}, {Start: noon, Open: 6}}, ReviewTime: client.PracticeTime{}, WrongAlerts: 1, Alerts: 9, Exposures: []client.Exposure{{Deployment: key, Key: finding.Key, Severity: "high", Kind: "advisory", Opened: before}}}},
		explainResult{client.Explanation{Deployment: key, Finding: finding, Decision: ruling, Inputs: inputs}, noon},
		waiverResult{waiver, noon}, waiverList{[]client.Waiver{asked, waiver, ended}, noon},
		windowList{[]client.Window{{Name: "nights", Schedule: "0 2 * * 2,4", Duration: "3h", Zone: "Europe/Berlin", Environments: []string{"prod*"}}, {Name: "year-end", Freeze: true, Security: true, Start: before, End: later, Deployments: []string{"production/*"}, Reason: "end of the year"}}},
		done{form: "window-set/v1", Name: "nights", Change: "is open"}, done{form: "window-removed/v1", Name: "nights", Change: "is removed"},
		policyResult{client.DecisionPolicy{PolicyRef: inputs.Policy, Text: "name: ours\nversion: \"2\"\n", Set: noon, SetBy: "usr-1"}},
		trackerResult{tracker}, trackerList{[]client.Tracker{tracker, {Name: "all", Kind: "github", URL: "https://github.com/example/all"}}}, done{form: "tracker-removed/v1", Name: "ops", Change: "is removed; its tickets stay"},
		ticketList{[]client.Ticket{{ID: 1, Tracker: "ops", Upgrade: 12, Marker: "m", Number: 7, URL: upgrade.Ticket, State: "open", Digest: some}, {ID: 2, Tracker: "ops", Upgrade: 13, Marker: "n", State: "wanted", Due: later, Attempts: 2, Error: "it answered 503"}}},
		outdated,
	}
}
