//! Where each field of a structure stands, against tables written from the specifications' figures and not
//! from the structures.

use std::mem::{offset_of, size_of};

use nvme_tcp::spec::command::nvm::{CopyRange, DsmRange};
use nvme_tcp::spec::discovery_log::{DiscoveryLogEntry, DiscoveryLogHeader};
use nvme_tcp::spec::identify::{
    ControllerList, IdentifyController, IdentifyIndependentNamespace, IdentifyNamespace,
    IdentifyNvmController, IdentifyNvmNamespace,
};
use nvme_tcp::spec::log_page::{
    AnaDescriptor, AnaHeader, CommandEffectsLog, ErrorEntry, FirmwareSlotLog, SanitizeLog, SmartLog,
    SupportedLogsLog,
};
use nvme_tcp::spec::reservation::{KeyPair, RegistrantEntry, ReservationHeader};

macro_rules! check {
    ($structure:ident, $len:literal: $($field:ident $offset:literal)*) => {
        assert_eq!(size_of::<$structure>(), $len, stringify!($structure));
        $(assert_eq!(
            offset_of!($structure, $field), $offset, concat!(stringify!($structure), ".", stringify!($field))
        );)*
    };
}

#[test]
fn identify_controller() {
    check!(IdentifyController, 4096:
        vid 0 ssvid 2 serial_number 4 model_number 24 firmware_revision 64 ieee 73 cmic 76 mdts 77 cntlid 78
        version 80 rtd3r 84 rtd3e 88 oaes 92 ctratt 96 cntrltype 111 fguid 112 crdt 128 oacs 256 acl 258 aerl 259
        frmw 260 lpa 261 elpe 262 npss 263 wctemp 266 cctemp 268 mtfa 270 tnvmcap 280 unvmcap 296 fwug 319
        kas 320 sanicap 328 anatt 342 anacap 343 anagrpmax 344 nanagrpid 348 cqt 386 sqes 512 cqes 513 maxcmd 514
        nn 516 oncs 520 fuses 522 fna 524 vwc 525 awun 526 awupf 528 nwpc 531 acwu 532 ocfs 534 sgls 536 mnan 540
        subnqn 768 ioccsz 1792 iorcsz 1796 icdoff 1800 fcatt 1802 msdbd 1803 ofcs 1804 dctype 1806);
}

#[test]
fn identify_namespace() {
    check!(IdentifyNamespace, 4096:
        nsze 0 ncap 8 nuse 16 nsfeat 24 nlbaf 25 flbas 26 mc 27 dpc 28 dps 29 nmic 30 rescap 31 fpi 32 dlfeat 33
        nawun 34 nawupf 36 nacwu 38 nabsn 40 nabo 42 nabspf 44 noiob 46 nvmcap 48 npwg 64 npwa 66 npdg 68 npda 70
        nows 72 mssrl 74 mcl 76 msrc 80 anagrpid 92 nsattr 99 nvmsetid 100 endgid 102 nguid 104 eui64 120
        lbaf 128);
    check!(IdentifyIndependentNamespace, 4096:
        nsfeat 0 nmic 1 rescap 2 fpi 3 anagrpid 4 nsattr 8 nvmsetid 10 endgid 12 nstat 14);
    check!(IdentifyNvmNamespace, 4096:
        lbstm 0 pic 8 pifa 9 elbaf 12 npdgl 268 nprg 272 npra 276 nors 280 npdal 284);
    check!(IdentifyNvmController, 4096:
        vsl 0 wzsl 1 wusl 2 dmrl 3 dmrsl 4 dmsl 8 kpiocap 16 wzdsl 17 aocs 18 version 20);
    check!(ControllerList, 4096: count 0 ids 2);
}

#[test]
fn log_pages() {
    check!(SupportedLogsLog, 1024: pages 0);
    check!(ErrorEntry, 64:
        error_count 0 sqid 8 cid 10 status_field 12 parameter_location 14 lba 16 nsid 24 vendor_log 28 trtype 29
        csi 30 opcode 31 command_specific 32 transport_specific 40 version 63);
    check!(SmartLog, 512:
        critical_warning 0 temperature 1 available_spare 3 available_spare_threshold 4 percentage_used 5
        endurance_group_warning 6 data_units_read 32 data_units_written 48 host_reads 64 host_writes 80
        busy_time 96 power_cycles 112 power_on_hours 128 unsafe_shutdowns 144 media_errors 160 error_entries 176
        warning_temperature_time 192 critical_temperature_time 196 temperature_sensors 200
        thermal_transitions 216 thermal_time 224);
    check!(FirmwareSlotLog, 512: afi 0 revisions 8);
    check!(CommandEffectsLog, 4096: admin 0 io 1024);
    check!(AnaHeader, 16: change_count 0 descriptors 8);
    check!(AnaDescriptor, 32: group 0 namespaces 4 change_count 8 state 16);
    check!(SanitizeLog, 512:
        progress 0 status 2 cdw10 4 overwrite_time 8 block_erase_time 12 crypto_erase_time 16
        times_without_deallocation 20);
    check!(DiscoveryLogHeader, 1024: genctr 0 numrec 8 recfmt 16);
    check!(DiscoveryLogEntry, 1024:
        trtype 0 adrfam 1 subtype 2 treq 3 portid 4 cntlid 6 asqsz 8 eflags 10 trsvcid 32 subnqn 256 traddr 512
        sectype 768);
}

#[test]
fn data_of_commands() {
    check!(DsmRange, 16: attributes 0 nlb 4 slba 8);
    check!(CopyRange, 32: slba 8 nlb 16 eilbrt 24 elbat 28);
    check!(KeyPair, 16: current 0 other 8);
    check!(ReservationHeader, 64: generation 0 kind 4 registrants 5 persist 9);
    check!(RegistrantEntry, 64: cntlid 0 status 2 key 8 host_id 16);
}
