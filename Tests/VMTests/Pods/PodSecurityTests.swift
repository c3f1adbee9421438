import Testing

extension PodTests {
    @Test("a privileged container gets links, filters and file systems that its guest's kernel has as modules")
    func modules() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp mods '{"linux": {"security_context": {"privileged": true}}}')
            id=$(run $pod all '{"linux": {"security_context": {"privileged": true}}}' -- sleep 1000)
            for link in 'd type dummy' 'b type bridge' 'v type veth peer name w' 'l link d type vlan id 5' 'm link d type macvlan'; do
                x $id ip link add $link && echo "${link% peer*}"
            done
            x $id sh -c 'ip tuntap add t mode tap; ls /sys/class/net | grep -c "^t$"; grep -c bridge /proc/net/dev || ip link show b | grep -c b:'
            x $id sh -c 'for type in overlay btrfs; do mount -t $type none /mnt 2> /dev/null; grep -cw $type /proc/filesystems; done'
            plain=$(run $pod plain -- sleep 1000); x $plain ip link add d2 type dummy 2>&1 | grep -c 'not permitted'
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                d type dummy
                b type bridge
                v type veth
                l link d type vlan id 5
                m link d type macvlan
                1
                1
                1
                \(Lab.hasOwnKernel ? 0 : 1)
                1

                """, "\(outcome.error)")
    }
}
