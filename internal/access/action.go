package access

// Action is one thing that a principal can be allowed to do. The list is
// closed. It has no action that changes or removes a release: yanking withdraws
// one from resolution, a tombstone withdraws its bytes, and both keep the name.
type Action string

// The actions.
const (
	ChartPull        Action = "chart.pull"
	ChartPush        Action = "chart.push"
	ProvAttach       Action = "prov.attach"
	AttestAttach     Action = "attest.attach"
	ChartYank        Action = "chart.yank"
	ChartUnyank      Action = "chart.unyank"
	ChartArchive     Action = "chart.archive"
	HistoryImport    Action = "history.import"
	ArtifactDelete   Action = "artifact.delete"
	TombstoneRequest Action = "tombstone.request"
	TombstoneApprove Action = "tombstone.approve"
	QuarantineSet    Action = "quarantine.set"
	QuarantineDecide Action = "quarantine.decide"
	PolicyRead       Action = "policy.read"
	PolicyWrite      Action = "policy.write"
	PolicyApprove    Action = "policy.approve"
	PublisherWrite   Action = "publisher.write"
	MemberWrite      Action = "member.write"
	TokenWrite       Action = "token.write"
	KeyWrite         Action = "key.write"
	AuditRead        Action = "audit.read"
	LogRead          Action = "log.read"
	WatchRead        Action = "watch.read"
	UpstreamWrite    Action = "upstream.write"
	DeploymentWrite  Action = "deployment.write"
	RouteWrite       Action = "route.write"
	AdvisoryWrite    Action = "advisory.write"
	UpgradePlan      Action = "upgrade.plan"
	UpgradeReview    Action = "upgrade.review"
	UpgradeApprove   Action = "upgrade.approve"
	UpgradeApply     Action = "upgrade.apply"
	ProjectCreate    Action = "project.create"
	InstanceAdmin    Action = "instance.admin"
)

// Reach says what an action touches, and so which limits of a grant apply.
type Reach string

// The reaches.
const (
	ReachRead     Reach = "read"     // reads a project; limits on charts and versions do not apply
	ReachChart    Reach = "chart"    // writes to one chart; all limits apply
	ReachProject  Reach = "project"  // writes to a project as a whole; a grant with a limit does not give it
	ReachInstance Reach = "instance" // concerns the server; only a grant on "*" gives it
)

// ActionInfo describes an action for help, documents and refusals.
type ActionInfo struct {
	Action   Action `json:"action"`
	Reach    Reach  `json:"reach"`
	Words    string `json:"words"`              // completes the sentence "ci may not … in project demo"
	Personal bool   `json:"personal,omitempty"` // only a person can do it, never a project token
}

var actionTable = [...]ActionInfo{
	{ChartPull, ReachRead, "pull charts", false},
	{ChartPush, ReachChart, "push charts", false},
	{ProvAttach, ReachChart, "attach provenance to releases", false},
	{AttestAttach, ReachChart, "attach signatures and attestations to releases", false},
	{ChartYank, ReachChart, "yank releases", false},
	{ChartUnyank, ReachChart, "take back the yank of releases", false},
	{ChartArchive, ReachChart, "archive pre-releases", false},
	{HistoryImport, ReachChart, "import the history of an old repository", false},
	{ArtifactDelete, ReachChart, "delete plain OCI artifacts", false},
	{TombstoneRequest, ReachChart, "ask for a tombstone", false},
	{TombstoneApprove, ReachChart, "approve a tombstone", true},
	{QuarantineSet, ReachProject, "put releases into quarantine", false},
	{QuarantineDecide, ReachChart, "confirm and lift quarantines", true},
	{PolicyRead, ReachRead, "read the settings and the policy", false},
	{PolicyWrite, ReachProject, "change the settings and the policy", false},
	{PolicyApprove, ReachProject, "approve that a policy gets weaker", true},
	{PublisherWrite, ReachProject, "decide which pipelines publish without a token of their own", false},
	{MemberWrite, ReachProject, "change who is a member", false},
	{TokenWrite, ReachProject, "create and revoke tokens", false},
	{KeyWrite, ReachProject, "change signing keys", false},
	{AuditRead, ReachRead, "read the audit trail", false},
	{LogRead, ReachRead, "read the entries of the log", false},
	{WatchRead, ReachRead, "read upstreams, deployments and what happened to them", false},
	{UpstreamWrite, ReachProject, "change the watched upstreams", false},
	{DeploymentWrite, ReachProject, "record what runs where", false},
	{RouteWrite, ReachProject, "decide who is told of events", false},
	{AdvisoryWrite, ReachProject, "import advisories and ask for waivers", false},
	{UpgradePlan, ReachChart, "plan upgrades", false},
	{UpgradeReview, ReachChart, "review upgrades", false},
	{UpgradeApprove, ReachChart, "approve upgrades", true},
	{UpgradeApply, ReachChart, "apply upgrades", false},
	{ProjectCreate, ReachInstance, "create projects", false},
	{InstanceAdmin, ReachInstance, "administer this server", false},
}

// actionSet is a set of indexes into actionTable.
type actionSet uint64

func setOf(actions ...Action) actionSet {
	var s actionSet
	for _, a := range actions {
		s |= 1 << actionIndex[a]
	}
	return s
}

func (s actionSet) has(index int) bool { return s&(1<<index) != 0 }

func (s actionSet) covers(other actionSet) bool { return other&^s == 0 }

// actionIndex finds an action in actionTable; it is never written to.
var actionIndex = func() map[Action]int {
	m := make(map[Action]int, len(actionTable))
	for i, a := range actionTable {
		m[a.Action] = i
	}
	return m
}()

// reachSet is the set of all actions of a reach.
func reachSet(reach Reach) actionSet {
	var s actionSet
	for i, a := range actionTable {
		if a.Reach == reach {
			s |= 1 << i
		}
	}
	return s
}

// Actions lists every action in the order of the documents.
func Actions() []ActionInfo { return append([]ActionInfo(nil), actionTable[:]...) }

// Info describes the action; ok is false when there is no such action.
func (a Action) Info() (info ActionInfo, ok bool) {
	i, ok := actionIndex[a]
	if !ok {
		return ActionInfo{}, false
	}
	return actionTable[i], true
}
