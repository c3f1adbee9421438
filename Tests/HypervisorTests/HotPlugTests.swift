import Foundation
import Linux
import Testing

@testable import Hypervisor

@Suite("Devices that come and go")
struct HotPlugTests {
    @Test("each port takes one device, and is free again when that has gone")
    func slots() throws {
        var slots = DeviceSlots(ports: 2)
        #expect(try slots.take("a") == "port0" && slots.take("b") == "port1")
        let error = #expect(throws: QMPError.self) { try slots.take("c") }
        #expect(error?.description.contains("pcie_root_port") == true)
        slots.release("a")
        #expect(try slots.take("c") == "port0")
    }

    @Test("a network card for QEMU's monitor", arguments: [1, 2])
    func card(_ queues: Int) throws {
        let queue = SharedDescriptor(try FileDescriptor.open("/dev/null", 0))
        let card = NetworkDevice(
            id: "net0", hardwareAddress: "02:00:00:00:00:01", queues: Array(repeating: queue, count: queues),
            vhost: true)
        let names = (0..<queues).map { "q\($0)" }
        func object(_ text: String) throws -> [String: Any] {
            try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        }
        let backend = try object(card.backend(names, vhost: names))
        #expect(backend["type"] as? String == "tap" && backend["vhost"] as? Bool == true)
        #expect(backend[queues == 1 ? "fd" : "fds"] as? String == names.joined(separator: ":"))
        #expect(backend[queues == 1 ? "vhostfd" : "vhostfds"] as? String == names.joined(separator: ":"))
        let device = try object(card.frontEnd(on: "port3"))
        #expect(device["netdev"] as? String == "net0" && device["bus"] as? String == "port3")
        #expect(device["vectors"] as? Int == (queues == 1 ? nil : 6))
    }
}
