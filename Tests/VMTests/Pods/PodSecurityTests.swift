import Testing

extension PodTests {
    @Test("a privileged container gets links, filters and file systems that its guest's kernel has as modules")
    func modules() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp mods '{"linux": {"security_context": {"privileged": true}}}')
            id=$(run $pod all '{"linux": {"security_context": {"privileged": true}}}' -- sleep 1000)
            for link in 'dum0 type dummy' 'br0 type bridge' 've0 type veth peer name ve1' 'link dum0 name vl0 type vlan id 5' \
                'link dum0 name mac0 type macvlan'; do x $id ip link add $link && echo $link; done
            x $id sh -c 'mkdir /m; for type in overlay btrfs; do mount -t $type none /m 2> /dev/null; grep -cw $type /proc/filesystems; done'
            plain=$(run $pod plain -- sleep 1000); x $plain ip link add dum1 type dummy 2>&1 | grep -c 'not permitted'
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                dum0 type dummy
                br0 type bridge
                ve0 type veth peer name ve1
                link dum0 name vl0 type vlan id 5
                link dum0 name mac0 type macvlan
                1
                \(Lab.hasOwnKernel ? 0 : 1)
                1

                """, "\(outcome.error)")
    }
}
