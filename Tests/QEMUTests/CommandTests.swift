import Testing

@testable import QEMU

/// The lines are written by hand from QEMU's schema (qapi/*.json), not printed by the code.
@Suite("Commands of QEMU's monitor")
struct CommandTests {
    private struct Case: Sendable, CustomTestStringConvertible {
        let line: String
        let expected: String
        var testDescription: String { expected }

        init(_ command: some QMP.Command, _ expected: String) {
            line = (try? Monitor.line(command)) ?? "not encoded"
            self.expected = expected
        }
    }

    private static var device: QMP.DeviceAdd {
        var device = QMP.DeviceAdd(driver: "scsi-hd", id: "d1", bus: "scsi0.0")
        (device.drive, device.scsiID, device.lun) = ("n1", 1, 3)
        (device.logicalBlockSize, device.physicalBlockSize) = (512, 4096)
        return device
    }

    private static var processor: QMP.DeviceAdd {
        var processor = QMP.DeviceAdd(driver: "host-x86_64-cpu", id: "cpu1")
        (processor.socketID, processor.dieID, processor.coreID, processor.threadID) = (1, 0, 0, 0)
        return processor
    }

    private static var share: QMP.DeviceAdd {
        var share = QMP.DeviceAdd(driver: "vhost-user-fs-pci", id: "fs1", bus: "port2")
        (share.chardev, share.tag, share.queueSize) = ("c1", "kataShared", 1024)
        return share
    }

    private static let cases = [
        Case(QMP.Capabilities(), #"{"execute":"qmp_capabilities","arguments":{}}"#),
        Case(QMP.Continue(), #"{"execute":"cont","arguments":{}}"#),
        Case(QMP.GetFD(fdname: "q0"), #"{"execute":"getfd","arguments":{"fdname":"q0"}}"#),
        Case(QMP.AddFD(set: 7), #"{"execute":"add-fd","arguments":{"fdset-id":7}}"#),
        Case(QMP.RemoveFD(set: 7), #"{"execute":"remove-fd","arguments":{"fdset-id":7}}"#),
        Case(
            QMP.HumanMonitorCommand(commandLine: "info registers"),
            #"{"execute":"human-monitor-command","arguments":{"command-line":"info registers"}}"#),
        Case(
            device,
            #"{"execute":"device_add","arguments":{"bus":"scsi0.0","drive":"n1","driver":"scsi-hd","id":"d1","#
                + #""logical_block_size":512,"lun":3,"physical_block_size":4096,"scsi-id":1}}"#),
        Case(
            processor,
            #"{"execute":"device_add","arguments":{"core-id":0,"die-id":0,"driver":"host-x86_64-cpu","id":"cpu1","#
                + #""socket-id":1,"thread-id":0}}"#),
        Case(
            share,
            #"{"execute":"device_add","arguments":{"bus":"port2","chardev":"c1","driver":"vhost-user-fs-pci","id":"fs1","#
                + #""queue-size":1024,"tag":"kataShared"}}"#),
        Case(QMP.DeviceDelete(id: "d1"), #"{"execute":"device_del","arguments":{"id":"d1"}}"#),
        Case(
            QMP.ObjectAdd.memory("m1", mebibytes: 128, reserve: false),
            #"{"execute":"object-add","arguments":{"id":"m1","qom-type":"memory-backend-memfd","reserve":false,"#
                + #""share":true,"size":134217728}}"#),
        Case(QMP.ObjectDelete(id: "m1"), #"{"execute":"object-del","arguments":{"id":"m1"}}"#),
        Case(
            QMP.SetProperty(path: "/machine/peripheral/v", property: "requested-size", value: 1 << 27),
            #"{"execute":"qom-set","arguments":{"path":"/machine/peripheral/v","property":"requested-size","#
                + #""value":134217728}}"#),
        Case(
            QMP.GetProperty(path: "/machine/peripheral/v", property: "size"),
            #"{"execute":"qom-get","arguments":{"path":"/machine/peripheral/v","property":"size"}}"#),
        Case(QMP.Processors(), #"{"execute":"query-cpus-fast","arguments":{}}"#),
        Case(
            QMP.BlockDeviceAdd(
                name: "n1", readOnly: true, cache: .init(direct: true, noFlush: false),
                file: .init(driver: "file", filename: "/dev/fdset/7", readOnly: true, aio: "threads")),
            #"{"execute":"blockdev-add","arguments":{"cache":{"direct":true,"no-flush":false},"driver":"raw","#
                + #""file":{"aio":"threads","driver":"file","filename":"/dev/fdset/7","read-only":true},"#
                + #""node-name":"n1","read-only":true}}"#),
        Case(QMP.BlockDeviceDelete(name: "n1"), #"{"execute":"blockdev-del","arguments":{"node-name":"n1"}}"#),
        Case(
            QMP.NetworkAdd(id: "net0", vhost: true, fds: "q0:q1", vhostfds: "h0:h1"),
            #"{"execute":"netdev_add","arguments":{"fds":"q0:q1","id":"net0","type":"tap","vhost":true,"#
                + #""vhostfds":"h0:h1"}}"#),
        Case(QMP.NetworkDelete(id: "net0"), #"{"execute":"netdev_del","arguments":{"id":"net0"}}"#),
        Case(
            QMP.CharacterDeviceAdd(id: "c1", descriptor: "s0"),
            #"{"execute":"chardev-add","arguments":{"backend":{"data":{"addr":{"data":{"str":"s0"},"type":"fd"},"#
                + #""server":false},"type":"socket"},"id":"c1"}}"#),
        Case(
            QMP.MigrateSetCapabilities("x-ignore-shared"),
            #"{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","#
                + #""state":true}]}}"#),
        Case(QMP.Migrate(uri: "fd:s"), #"{"execute":"migrate","arguments":{"uri":"fd:s"}}"#),
        Case(QMP.MigrateIncoming(uri: "fd:s"), #"{"execute":"migrate-incoming","arguments":{"uri":"fd:s"}}"#),
    ]

    @Test("each has its name and arguments as QEMU's schema has them", arguments: cases)
    private func line(_ each: Case) { #expect(each.line == each.expected) }
}
