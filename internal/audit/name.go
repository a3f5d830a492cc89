package audit

// Name says what happened: a noun, a dot, a verb in the past.
type Name string

// The names of events.
const (
	ReleaseAccepted  Name = "release.accepted"
	ReleaseUnchanged Name = "release.unchanged"
	ReleaseImported  Name = "release.imported"

	RefusedOverwrite     Name = "release.refused.overwrite"
	RefusedRepackaged    Name = "release.refused.repackaged"
	RefusedBuildMetadata Name = "release.refused.build-metadata"
	RefusedFileName      Name = "release.refused.file-name"
	RefusedVersion       Name = "release.refused.version-invalid"
	RefusedMismatch      Name = "release.refused.mismatch"
	RefusedValidation    Name = "release.refused.validation"
	RefusedProvenance    Name = "release.refused.provenance"
	RefusedPolicy        Name = "release.refused.policy"
	RefusedLimit         Name = "release.refused.limit"
	RefusedDigest        Name = "release.refused.digest"
	RefusedAccess        Name = "release.refused.access"

	ProvAttached        Name = "prov.attached"
	ProvRefused         Name = "prov.refused"
	AttestationAttached Name = "attestation.attached"
	ReleaseYanked       Name = "release.yanked"
	ReleaseUnyanked     Name = "release.unyanked"
	DeleteRefused       Name = "delete.refused"
	ArtifactPushed      Name = "artifact.pushed"
	ArtifactDeleted     Name = "artifact.deleted"

	LoginOK      Name = "login.ok"
	LoginFailed  Name = "login.failed"
	LoginLocked  Name = "login.locked"
	AuthFailures Name = "auth.failures"
	AccessDenied Name = "access.denied"

	TokenCreated    Name = "token.created"
	TokenRevoked    Name = "token.revoked"
	TokenExpired    Name = "token.expired"
	TokenNewSource  Name = "token.used-from-new-address"
	AccountCreated  Name = "account.created"
	AccountRemoved  Name = "account.removed"
	PasswordChanged Name = "password.changed"
	RoleGranted     Name = "role.granted"
	RoleRevoked     Name = "role.revoked"

	ProjectCreated Name = "project.created"
	ProjectSet     Name = "project.set"
	ProjectCutOver Name = "project.cut-over"
	ProjectRemoved Name = "project.removed"

	UpstreamAdded      Name = "upstream.added"
	UpstreamSet        Name = "upstream.set"
	UpstreamRemoved    Name = "upstream.removed"
	DeploymentImported Name = "deployment.imported"
	DeploymentSet      Name = "deployment.set"
	RouteAdded         Name = "route.added"
	RouteRemoved       Name = "route.removed"
	RouteResent        Name = "route.resent"
	AlertTested        Name = "alert.tested"

	FeedAdded        Name = "feed.added"
	FeedSet          Name = "feed.set"
	FeedRemoved      Name = "feed.removed"
	FeedImported     Name = "feed.imported"
	DecisionSet      Name = "decision.policy-set"
	WindowSet        Name = "window.set"
	WindowRemoved    Name = "window.removed"
	WaiverRequested  Name = "waiver.requested"
	WaiverApproved   Name = "waiver.approved"
	WaiverEnded      Name = "waiver.ended"
	ReviewSigned     Name = "review.signed"
	ReviewDeclined   Name = "review.declined"
	UpgradePlanned   Name = "upgrade.planned"
	UpgradeDismissed Name = "upgrade.dismissed"
	TrackerAdded     Name = "tracker.added"
	TrackerRemoved   Name = "tracker.removed"

	RefusedSignature Name = "release.refused.signature"
	RefusedWithheld  Name = "release.refused.withheld"
	WouldRefuse      Name = "release.would-refuse"

	QuarantineSet       Name = "quarantine.set"
	QuarantineConfirmed Name = "quarantine.confirmed"
	QuarantineLifted    Name = "quarantine.lifted"
	QuarantineLapsed    Name = "quarantine.lapsed"
	QuarantineWaits     Name = "quarantine.waits"

	RequestMade      Name = "request.made"
	RequestApproved  Name = "request.approved"
	RequestDeclined  Name = "request.declined"
	RequestWithdrawn Name = "request.withdrawn"
	RequestLapsed    Name = "request.lapsed"
	TombstoneDone    Name = "tombstone.done"
	PolicyChanged    Name = "policy.changed"
	PolicyWeakened   Name = "policy.weakened"

	PublisherAdded   Name = "publisher.added"
	PublisherRemoved Name = "publisher.removed"
	OIDCExchanged    Name = "oidc.exchanged"
	OIDCRefused      Name = "oidc.refused"
	AccountLinked    Name = "account.linked"

	IntegrityChecked  Name = "integrity.checked"
	IntegrityMismatch Name = "integrity.mismatch"
	IntegrityMissing  Name = "integrity.missing"
	LogRollback       Name = "log.rollback-detected"
	LogForked         Name = "log.fork-detected"
	LogKeyChanged     Name = "log.key-changed"
	LogKeyRotated     Name = "log.key-rotated"
	LogRecovered      Name = "log.recovered"
	WitnessRefused    Name = "log.witness-refused"
	BackupMade        Name = "backup.made"
	BackupRestored    Name = "backup.restored"
	AuditExported     Name = "audit.exported"
	ConfigChanged     Name = "config.changed"
)

// Severity orders events for people.
type Severity string

// The severities, from the least.
const (
	Info   Severity = "info"   // the ordinary course of things
	Notice Severity = "notice" // worth a look when one looks
	Alert  Severity = "alert"  // somebody should look now
)

// Definition describes a name for help, documents and filters. Severity and
// alerts belong to the program and not to the leaf: they may be judged anew.
type Definition struct {
	Name        Name     `json:"name"`
	Description string   `json:"description"`
	Severity    Severity `json:"severity"`
	Alerts      bool     `json:"alerts"` // raises an alert, see Event.AlertKey
}

var definitions = [...]Definition{
	{ReleaseAccepted, "a new release exists", Info, false},
	{ReleaseUnchanged, "the same chart was pushed again; nothing changed", Info, false},
	{ReleaseImported, "a release of an old repository was taken over, with the digest seen", Info, false},
	{RefusedOverwrite, "other bytes were offered for a released version", Alert, true},
	{RefusedRepackaged, "a released chart was offered under another manifest digest; the content is the same", Notice, false},
	{RefusedBuildMetadata, "the version differs from a released one in build metadata only", Notice, false},
	{RefusedFileName, "the archive's file name is that of another release", Notice, false},
	{RefusedVersion, "the version is not strict SemVer 2", Info, false},
	{RefusedMismatch, "file, tag, provenance and Chart.yaml disagree on name or version", Notice, false},
	{RefusedValidation, "the archive or its Chart.yaml breaks a rule", Info, false},
	{RefusedProvenance, "the provenance does not hold for the archive", Notice, false},
	{RefusedPolicy, "a policy of the project refused the release", Notice, false},
	{RefusedLimit, "the upload is over a limit", Notice, false},
	{RefusedDigest, "the bytes do not have the digest that the client named", Notice, false},
	{RefusedAccess, "somebody known tried to push without the right", Notice, false},
	{ProvAttached, "provenance was added to a release after its push", Info, false},
	{ProvRefused, "provenance was offered that does not match, or for the second time", Notice, false},
	{AttestationAttached, "a signature or an attestation was added to a release", Info, false},
	{ReleaseYanked, "a release was withdrawn from resolution", Notice, false},
	{ReleaseUnyanked, "a yank was taken back", Notice, false},
	{DeleteRefused, "somebody asked to delete a release", Alert, true},
	{ArtifactPushed, "a manifest or tag was written in a project of kind artifacts", Info, false},
	{ArtifactDeleted, "a manifest or tag was deleted in a project of kind artifacts", Notice, false},
	{LoginOK, "somebody signed in", Info, false},
	{LoginFailed, "wrong passwords for a known account, counted over a minute", Notice, false},
	{LoginLocked, "so many wrong credentials came from an address that no more of it were checked for a time", Alert, true},
	{AuthFailures, "requests without a valid credential, counted over a time", Notice, false},
	{AccessDenied, "somebody known tried what no grant allows", Notice, false},
	{TokenCreated, "a token was created", Notice, false},
	{TokenRevoked, "a token was revoked", Notice, false},
	{TokenExpired, "a token reached its end", Info, false},
	{TokenNewSource, "a token was used from an address that it was not used from before", Notice, false},
	{AccountCreated, "an account was created", Notice, false},
	{AccountRemoved, "an account was removed", Notice, false},
	{PasswordChanged, "the password of an account was changed", Notice, false},
	{RoleGranted, "a grant was given", Notice, false},
	{RoleRevoked, "a grant was taken away", Notice, false},
	{ProjectCreated, "a project was created", Notice, false},
	{ProjectSet, "the settings of a project were changed", Notice, false},
	{ProjectCutOver, "the import of a project ended; the strict rules hold from here on", Notice, false},
	{ProjectRemoved, "a project was removed; its names stay taken", Alert, true},
	{UpstreamAdded, "an upstream is watched from now on", Notice, false},
	{UpstreamSet, "what is watched of an upstream, or mirrored, was changed", Notice, false},
	{UpstreamRemoved, "an upstream is watched no more", Notice, false},
	{DeploymentImported, "what runs somewhere was read anew", Info, false},
	{DeploymentSet, "what people say of a deployment was changed", Notice, false},
	{RouteAdded, "events are sent to somebody from now on", Notice, false},
	{RouteRemoved, "events are sent to somebody no more", Notice, false},
	{RouteResent, "deliveries that were given up are tried again", Notice, false},
	{AlertTested, "somebody tests that alerts arrive; nothing is wrong", Alert, true},
	{FeedAdded, "a feed of advisories is read from now on", Notice, false},
	{FeedSet, "where or how often a feed of advisories is read was changed", Notice, false},
	{FeedRemoved, "a feed of advisories counts no more", Notice, false},
	{FeedImported, "a feed of advisories was imported", Info, false},
	{DecisionSet, "the policy by which deadlines are decided was changed", Alert, true},
	{WindowSet, "when changes are allowed or forbidden was changed", Notice, false},
	{WindowRemoved, "a window or a freeze was removed", Notice, false},
	{WaiverRequested, "somebody asked to let a finding be for a time", Notice, false},
	{WaiverApproved, "a finding is let be for a time", Alert, true},
	{WaiverEnded, "a waiver was taken back", Notice, false},
	{ReviewSigned, "a person accepted the review of an upgrade", Notice, false},
	{ReviewDeclined, "a person declined the review of an upgrade", Notice, false},
	{UpgradePlanned, "a person accepted the plan of an upgrade", Notice, false},
	{UpgradeDismissed, "an upgrade was dismissed with a reason", Notice, false},
	{TrackerAdded, "tickets are made in a tracker from now on", Notice, false},
	{TrackerRemoved, "tickets are made in a tracker no more", Notice, false},
	{RefusedSignature, "a release or signature does not have the signatures that the policy asks for", Notice, false},
	{RefusedWithheld, "a release in quarantine, or one whose bytes are gone for good, was pushed again", Alert, true},
	{WouldRefuse, "a policy that only reports would have refused the release", Notice, false},
	{QuarantineSet, "a person blocked a release at every door", Alert, true},
	{QuarantineConfirmed, "a second person confirmed that a release stays blocked", Notice, false},
	{QuarantineLifted, "a blocked release is served again", Alert, true},
	{QuarantineLapsed, "nobody confirmed a quarantine in time; the release is served again", Alert, true},
	{QuarantineWaits, "half of the time is gone in which a second person has to confirm a quarantine", Alert, true},
	{RequestMade, "somebody asked for what needs a second person", Alert, true},
	{RequestApproved, "a second person agreed", Notice, false},
	{RequestDeclined, "a second person declined", Notice, false},
	{RequestWithdrawn, "what needed a second person was taken back", Notice, false},
	{RequestLapsed, "nobody decided in time on what needed a second person", Notice, false},
	{TombstoneDone, "the bytes of a release are gone for good; its name stays taken", Alert, true},
	{PolicyChanged, "the policy of a project changed, and is not weaker", Notice, false},
	{PolicyWeakened, "the policy of a project lets through more than before", Alert, true},
	{PublisherAdded, "a pipeline may publish without a token of its own from now on", Notice, false},
	{PublisherRemoved, "a pipeline may publish no more", Notice, false},
	{OIDCExchanged, "a pipeline proved who it is and got a short token", Info, false},
	{OIDCRefused, "an identity token was not accepted", Notice, false},
	{AccountLinked, "a person signed in through the identity provider for the first time", Notice, false},
	{IntegrityChecked, "everything stored was compared with the log", Info, false},
	{IntegrityMismatch, "stored bytes do not have the digest in the log", Alert, true},
	{IntegrityMissing, "bytes of a release are gone from the store", Alert, true},
	{LogRollback, "the database is behind a checkpoint that was published", Alert, true},
	{LogForked, "the database has another history than one that was signed", Alert, true},
	{LogKeyChanged, "the server started with another log key", Alert, true},
	{LogKeyRotated, "the log is signed by a new key from now on", Alert, true},
	{LogRecovered, "what a database had lost was brought back from the blob store", Alert, true},
	{WitnessRefused, "a witness refused to cosign the log", Alert, true},
	{BackupMade, "a backup was made", Info, false},
	{BackupRestored, "the server runs on a restored backup", Alert, true},
	{AuditExported, "the audit trail was exported", Notice, false},
	{ConfigChanged, "the server started with other settings, or as another version", Notice, false},
}

// index finds a name in definitions; it is never written to.
var index = func() map[Name]int {
	m := make(map[Name]int, len(definitions))
	for i, d := range definitions {
		m[d.Name] = i
	}
	return m
}()

// Names lists every name in the order of the documents.
func Names() []Definition { return append([]Definition(nil), definitions[:]...) }

// Definition describes the name; ok is false for a name that this program does
// not know, such as one that a later one wrote.
func (n Name) Definition() (d Definition, ok bool) {
	i, ok := index[n]
	if !ok {
		return Definition{}, false
	}
	return definitions[i], true
}

// wellFormed reports whether it has the form of a name: 3 to 64 lower-case
// letters, hyphens and dots.
func (n Name) wellFormed() bool {
	if len(n) < 3 || len(n) > 64 {
		return false
	}
	for i := range len(n) {
		if c := n[i]; !('a' <= c && c <= 'z' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}
