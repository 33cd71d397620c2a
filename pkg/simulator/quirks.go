package simulator

// quirk is one trait of the platform that a client has to deal with. Tests turn single ones off to prove that the test
// of that trait would notice its absence; a simulator in use has them all.
type quirk string

const (
	quirkEnvelope      quirk = "01-envelope"
	quirkContentType   quirk = "01-content-type"
	quirkUUID          quirk = "01-uuid"
	quirkToken         quirk = "01-token"
	quirkSourceACL     quirk = "01-source-acl"
	quirkUnknownRoute  quirk = "01-unknown-route"
	quirkStatusCodes   quirk = "02-status-codes"
	quirkAsynchronous  quirk = "02-asynchronous"
	quirkPowerStatus   quirk = "03-power-status"
	quirkLockedWindow  quirk = "03-locked-window"
	quirkLiveDefault   quirk = "04-live-default"
	quirkSingleAttach  quirk = "05-single-attach"
	quirkSameRegion    quirk = "05-same-region"
	quirkNoBareMetal   quirk = "05-no-bare-metal"
	quirkSixteen       quirk = "05-sixteen-volumes"
	quirkMountID       quirk = "06-mount-id"
	quirkSnapshotZero  quirk = "06-snapshot-zero"
	quirkSizeBounds    quirk = "07-size-bounds"
	quirkRegionOptions quirk = "07-region-options"
	quirkGrowOnly      quirk = "07-grow-only"
	quirkNothing       quirk = "07-nothing-to-change"
	quirkLateGrowth    quirk = "07-late-growth"
	quirkSurvives      quirk = "08-survives-instance"
	quirkLinger        quirk = "08-lingering-attachment"
	quirkDeleteInUse   quirk = "08-delete-in-use"
	quirkSnapBare      quirk = "09-unwrapped"
	quirkSnapBytes     quirk = "09-size-in-bytes"
	quirkSnapPending   quirk = "09-pending"
	quirkSnapDates     quirk = "09-dates"
	quirkSnapFilter    quirk = "09-description-filter"
	quirkSnapRestore   quirk = "09-restore-rules"
	quirkSnapOutlives  quirk = "09-independent-lifetime"
	quirkVFSBare       quirk = "10-unwrapped"
	quirkVFSTag        quirk = "10-mount-tag"
	quirkVFSValidation quirk = "10-conflict-and-validation"
	quirkVFSMeta       quirk = "10-list-without-meta"
	quirkVFSLag        quirk = "10-detach-lag"
	quirkVFSShrink     quirk = "10-shrink-to-used"
	quirkVFSShared     quirk = "10-several-instances"
	quirkPageSize      quirk = "11-page-size"
	quirkCursor        quirk = "11-opaque-cursor"
	quirkTotal         quirk = "11-total"
	quirkLabelFilter   quirk = "11-label-filter"
	quirkTagFilter     quirk = "11-tag-filter"
	quirkSameLabels    quirk = "12-labels-not-unique"
	quirkLostAnswer    quirk = "12-lost-answer"
	quirkRateLimit     quirk = "13-rate-limit"
	quirkServerErrors  quirk = "13-server-errors"
	quirkLBPending     quirk = "14-pending"
	quirkLBAddress     quirk = "14-late-address"
	quirkLBActivating  quirk = "14-activating"
	quirkLBNotReady    quirk = "14-not-ready"
	quirkLBKeep        quirk = "15-omitted-keeps"
	quirkLBReplace     quirk = "15-arrays-replace"
	quirkLBSticky      quirk = "15-sticky-names"
	quirkLBObjects     quirk = "15-objects-present"
	quirkLBSorted      quirk = "15-instances-sorted"
	quirkLBTCPPath     quirk = "15-tcp-path"
	quirkLBNodes       quirk = "16-odd-nodes"
	quirkLBRules       quirk = "16-rules"
	quirkLBReserved    quirk = "16-reserved-ports"
	quirkLBSSL         quirk = "16-ssl-prerequisites"
	quirkLBHTTP        quirk = "16-http2-http3"
	quirkLBProtocols   quirk = "16-protocols"
	quirkLBSources     quirk = "16-sources"
	quirkLBBackends    quirk = "16-backend-region"
	quirkLBRegions     quirk = "16-regions"

	quirkFiveVPCs        quirk = "17-five-per-region"
	quirkVPCInUse        quirk = "17-delete-in-use"
	quirkPublicAddresses quirk = "17-public-addresses"
	quirkVPCLingers      quirk = "17-lingers"
	quirkVPCReboots      quirk = "17-attach-reboots"
	quirkNoVPC2          quirk = "17-no-vpc2"

	quirkDuplicateRule   quirk = "18-duplicate-rule"
	quirkSourceEcho      quirk = "18-source-echo"
	quirkGroupInUse      quirk = "18-delete-in-use"
	quirkNoInstanceCount quirk = "18-no-instance-count"
	quirkVPCNotFiltered  quirk = "18-vpc-not-filtered"

	quirkRegionCode   quirk = "19-region-code"
	quirkInstanceV2ID quirk = "19-instance-v2-id"
	quirkNoTags       quirk = "19-no-tags"
	quirkPublicNIC    quirk = "19-public-nic"
	quirkPrivateNIC   quirk = "19-private-interface"
	quirkEVPN         quirk = "19-evpn"

	quirkTruncation    quirk = "20-silent-truncation"
	quirkLateDetails   quirk = "20-late-details"
	quirkLateUserData  quirk = "20-late-user-data"
	quirkDeletedCounts quirk = "20-deleted-counts"
)

// quirkLateRead is that one kind of read of one kind of objects lags.
func quirkLateRead(kind, read string) quirk { return quirk("20-late-" + kind + "." + read) }

// keeps reports whether this simulator has the trait.
func (s *Simulator) keeps(q quirk) bool {
	_, off := s.quirksOff.Load(q)
	return !off
}

// turnOff takes a trait away, for tests.
func (s *Simulator) turnOff(q quirk) { s.quirksOff.Store(q, true) }
